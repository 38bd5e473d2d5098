# make sprites: sets everything up and draws a grid of sprites into out/
# make test:    sets everything up and runs the tests
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
BUILD := build/cpp
SOURCES := pyproject.toml constraints.txt setup.py $(shell find csrc -type f)
FORMATTED = $(shell git ls-files 'csrc/*.h' 'csrc/*.cpp' 'csrc/*.cu' 'tests/cpp/*.[ch]' 'tests/cpp/*.cpp' \
  'tests/fuzz/*.cpp' 'tests/fuzz/*.h' 'examples/*.c')
FUZZ_SECONDS ?= 600

COMPARED := --context each --n 25 --guidance 2

.PHONY: sprites test cpp-build cpp-test lint nvcc-check check-long fuzz gpu-check bench bench-native \
  bench-pixelcnn train-sprites16 train-digits train-pixelcnn-mnist pictures frontier support machine clean
.DELETE_ON_ERROR:

sprites: $(VENV)/.base
	$(BIN)/fastdiff sample --model sprites16 --context each --n 64 --guidance 2 \
	  --out out/sprites.png --gif out/sprites.gif

test: $(VENV)/.dev cpp-test
	$(BIN)/python -m pytest -q

cpp-build: $(VENV)/.dev
	@mkdir -p build
	$(BIN)/cmake -S csrc -B $(BUILD) -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja \
	  -DCMAKE_BUILD_TYPE=Release -DFASTDIFF_TESTS=ON -DFASTDIFF_WERROR=ON > $(BUILD).log 2>&1 \
	  || { cat $(BUILD).log; exit 1; }
	$(BIN)/cmake --build $(BUILD)

cpp-test: cpp-build
	$(BIN)/ctest --test-dir $(BUILD) --output-on-failure

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy -p kernels -p export
	$(BIN)/clang-format --dry-run --Werror $(FORMATTED)

nvcc-check:
	csrc/cuda/check_compile.sh

# Sanitizers and full-length equality runs: minutes, before an issue is called resolved.
check-long: $(VENV)/.dev
	@mkdir -p build
	set -e; for s in address,undefined thread; do d=build/cpp-$${s%,*}; \
	  $(BIN)/cmake -S csrc -B $$d -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja \
	    -DCMAKE_BUILD_TYPE=RelWithDebInfo -DFASTDIFF_TESTS=ON -DFASTDIFF_CUDA=off \
	    -DFASTDIFF_SANITIZE=$$s > $$d.log 2>&1 || { cat $$d.log; exit 1; }; \
	  $(BIN)/cmake --build $$d; \
	  $(BIN)/ctest --test-dir $$d --output-on-failure; \
	done
	$(MAKE) fuzz
	for isa in scalar avx2 avx512; do echo "FASTDIFF_MAX_ISA=$$isa"; \
	  FASTDIFF_MAX_ISA=$$isa $(BIN)/python -m pytest -q tests/native/test_ops.py \
	    tests/native/test_models.py || exit 1; done
	$(BIN)/python -m pytest -q -m long

# The reader of engine files on hostile ones, and planner and kernels on random programs, half of
# FUZZ_SECONDS each. libFuzzer comes with clang; without it what was found before is replayed.
fuzz: $(VENV)/.dev
	@mkdir -p build/fuzz/found build/fuzz/found_run
	CXX=$$(command -v clang++ || echo c++) $(BIN)/cmake -S tests/fuzz -B build/fuzz -G Ninja \
	  -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja > build/fuzz.log 2>&1 \
	  || { cat build/fuzz.log; exit 1; }
	$(BIN)/cmake --build build/fuzz
	if command -v clang++ > /dev/null; then \
	  for t in file: run:_run; do build/fuzz/fuzz_engine_$${t%:*} -close_fd_mask=1 \
	    -print_final_stats=1 -verbosity=0 -max_total_time=$$(($(FUZZ_SECONDS) / 2)) -max_len=32768 \
	    -timeout=60 -rss_limit_mb=4096 build/fuzz/found$${t#*:} tests/fuzz/corpus$${t#*:} \
	    || exit 1; done; \
	else echo "clang++ is not installed: the corpus is replayed, nothing is fuzzed"; \
	  build/fuzz/fuzz_engine_file tests/fuzz/corpus/* && \
	  build/fuzz/fuzz_engine_run tests/fuzz/corpus_run/* tests/fuzz/corpus/*; fi

# Needs an NVIDIA GPU: all GPU tests and the GPU benchmark.
gpu-check: $(VENV)/.dev
	FASTDIFF_REQUIRE_GPU=1 $(BIN)/python -m pytest -q tests/gpu
	$(BIN)/python benchmarks/noise.py --out benchmarks/results
	$(BIN)/python benchmarks/gpu.py --out benchmarks/results

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/noise.py --out benchmarks/results

# Every backend and peer on one network, side by side: some six minutes.
bench-native: $(VENV)/.bench cpp-build
	$(BIN)/python benchmarks/native.py --out benchmarks/results
	$(BIN)/python benchmarks/native_plot.py benchmarks/results/native-*.json docs/images/native.png
	$(BIN)/python benchmarks/startup.py --program $(BUILD)/fastdiff-run --out benchmarks/results

# PixelCNN against the naive loop: some four minutes.
bench-pixelcnn: $(VENV)/.dev
	$(BIN)/python benchmarks/pixelcnn.py --out benchmarks/results
	$(BIN)/python benchmarks/pixelcnn_plot.py benchmarks/results/pixelcnn-*.json docs/images/pixelcnn.png

train-sprites16: $(VENV)/.base
	$(BIN)/python recipes/sprites_data.py --source ../shared/data/sprites --out data
	$(BIN)/fastdiff train --data data/sprites16.npz --out runs/sprites16 --resume --seed 16 --flip \
	  --steps 18000 --precision bfloat16 --save-every 500 --sample-every 1000

# Ten classes of MNIST: about three hours of one core.
train-digits: $(VENV)/.base
	$(BIN)/fastdiff train --architecture ddpm_unet --channels 32,64,96 --blocks 1 --attention 7 \
	  --groups 8 --scale-shift --data ../shared/data/mnist/train-images-idx3-ubyte.gz \
	  --held-out ../shared/data/mnist/t10k-images-idx3-ubyte.gz --out runs/digits --resume --seed 28 \
	  --steps 12000 --batch-size 64 --lr 1e-3 --warmup 300 --precision bfloat16 --save-every 500 \
	  --judge-every 2000 --sample-every 4000

# The same data as everywhere: MNIST's IDX files, without their classes.
train-pixelcnn-mnist: $(VENV)/.base
	$(BIN)/fastdiff train --architecture pixelcnn --hidden 48 --blocks 10 --unconditional \
	  --data ../shared/data/mnist/train-images-idx3-ubyte.gz \
	  --held-out ../shared/data/mnist/t10k-images-idx3-ubyte.gz \
	  --out runs/pixelcnn-mnist --resume --seed 28 --steps 34000 --batch-size 16 --lr 2e-3 \
	  --warmup 300 --precision bfloat16 --save-every 500 --judge-every 2000 --sample-every 8000

# The pictures of README.md and docs/, from the packaged model (and held-out sprites).
pictures: $(VENV)/.dev
	$(BIN)/fastdiff sample --context each --n 64 --guidance 2 --out docs/images/sprites16.png
	$(BIN)/fastdiff sample --context each --n 20 --guidance 2 --out out/animated.png \
	  --gif docs/images/sprites16.gif
	$(BIN)/fastdiff sample $(COMPARED) --sampler ddim --steps 25 --out docs/images/compare-ddim25.png
	$(BIN)/fastdiff sample $(COMPARED) --sampler ddpm --steps 500 --out docs/images/compare-ddpm500.png
	$(BIN)/fastdiff sample $(COMPARED) --sampler ddpm --steps 500 --set noise=false \
	  --out docs/images/compare-nonoise.png
	$(BIN)/python recipes/convergence_picture.py
	$(BIN)/python recipes/editing_pictures.py --source ../shared/data/sprites --out docs/images

# Quality against cost for every sampler: about an hour on two cores, resumed where it was left.
frontier: $(VENV)/.dev
	$(BIN)/fastdiff eval --frontier --out out/frontier-sprites16 --dtype bfloat16
	cp out/frontier-sprites16/frontier.png docs/images/frontier-sprites16.png
	cp out/frontier-sprites16/frontier.json benchmarks/results/frontier-sprites16.json

# What every backend makes of every network; torch.compile takes minutes of it.
support: $(VENV)/.dev
	$(BIN)/python tools/support_table.py docs/support.md

machine:
	@tools/check_machine.sh $(PYTHON)

$(BIN)/python: | machine
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: $(SOURCES) | $(BIN)/python
	$(PIP) -e '.[torch]'
	@touch $@

$(VENV)/.dev: $(SOURCES) | $(BIN)/python
	FASTDIFF_WERROR=1 $(PIP) -e '.[torch,triton,plots,dev]'
	@touch $@ $(VENV)/.base

$(VENV)/.bench: $(VENV)/.dev
	$(PIP) -e '.[torch,plots,bench]'
	@touch $@ $(VENV)/.base $(VENV)/.dev

clean:
	rm -rf build dist out fastdiff/_native*.so *.egg-info
