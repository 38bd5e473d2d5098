// The incremental evaluator against the whole network, run once for every choice in float64.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "core/error.h"
#include "core/philox.h"
#include "pixelcnn/dependencies.h"
#include "pixelcnn/engine.h"
#include "pixelcnn/wavefront.h"

namespace {

using fd::Node;
using fd::Op;

// A program [C, H, W] -> logits [levels, C, H, W] and the memory of its constants.
struct Net {
  int colours = 1, height = 1, width = 1, levels = 2;
  fd::Program program;
  std::vector<std::unique_ptr<std::vector<float>>> constants;
  std::mt19937 random{7};

  Net(int c, int h, int w, int l) : colours(c), height(h), width(w), levels(l) {
    program.inputs = {value("x", c)};
  }
  int value(const std::string& name, int channels) {
    fd::Value v;
    v.name = name, v.batched = true;
    v.shape = {channels, height, width};
    program.values.push_back(v);
    return static_cast<int>(program.values.size()) - 1;
  }
  int constant(std::vector<std::int64_t> shape, std::vector<float> data) {
    constants.push_back(std::make_unique<std::vector<float>>(std::move(data)));
    fd::Value v;
    v.name = "c" + std::to_string(program.values.size());
    v.shape = std::move(shape), v.constant = constants.back()->data();
    program.values.push_back(v);
    return static_cast<int>(program.values.size()) - 1;
  }
  int channels_of(int v) const {
    return static_cast<int>(program.values[static_cast<std::size_t>(v)].shape[0]);
  }
  int add(Node node, int channels) {
    node.output = value("v" + std::to_string(program.values.size()), channels);
    node.path = "layer" + std::to_string(program.nodes.size());
    program.nodes.push_back(node);
    return node.output;
  }
  // Channels belong to colours by thirds and the like, the image's one to one; a tap at the centre
  // sees earlier colours, its own too unless `strict`. `leak`: sees everything.
  int conv(int in, int channels, int kernel, int dilation, bool strict, bool leak = false) {
    const int cin = channels_of(in);
    std::vector<float> weight;
    std::normal_distribution<float> normal(
        0, 1.0f / std::sqrt(0.5f * static_cast<float>(cin * kernel * kernel)));
    for (int o = 0; o < channels; ++o) {
      for (int i = 0; i < cin; ++i) {
        for (int ky = 0; ky < kernel; ++ky) {
          for (int kx = 0; kx < kernel; ++kx) {
            const int y = ky - kernel / 2, x = kx - kernel / 2;
            const int of = o * colours / channels, from = i * colours / cin;
            const bool seen = y < 0 || (y == 0 && x < 0) ||
                              (y == 0 && x == 0 && (strict ? from < of : from <= of));
            weight.push_back(seen || leak ? normal(random) : 0.0f);
          }
        }
      }
    }
    std::vector<float> bias;
    for (int o = 0; o < channels; ++o) bias.push_back(0.3f * normal(random));
    Node node;
    node.op = Op::conv2d;
    node.inputs = {in, constant({channels, cin, kernel, kernel}, weight),
                   constant({channels}, bias)};
    node.dilation[0] = node.dilation[1] = dilation;
    node.padding[0] = node.padding[1] = kernel / 2 * dilation;
    return add(node, channels);
  }
  int unary(int in, fd::Unary kind) {
    Node node;
    node.op = Op::unary, node.unary = kind, node.inputs = {in};
    return add(node, channels_of(in));
  }
  int binary(fd::Binary kind, int a, int b) {
    Node node;
    node.op = Op::binary, node.binary = kind, node.inputs = {a, b};
    return add(node, channels_of(a));
  }
  int slice(int in, int start, int stop) {
    Node node;
    node.op = Op::slice, node.inputs = {in};
    node.dim = 1, node.start = start, node.stop = stop;
    return add(node, stop - start);
  }
  int concat(int a, int b) {
    Node node;
    node.op = Op::concat, node.dim = 1, node.inputs = {a, b};
    return add(node, channels_of(a) + channels_of(b));
  }
  // Logits by colour, [colours, levels], as [levels, colours].
  void finish(int in) {
    Node reshape;
    reshape.op = Op::reshape, reshape.inputs = {in};
    const int by_colour = add(reshape, 1);
    program.values[static_cast<std::size_t>(by_colour)].shape = {colours, levels, height, width};
    Node permute;
    permute.op = Op::permute, permute.inputs = {by_colour}, permute.dims = {0, 2, 1, 3, 4};
    const int out = add(permute, 1);
    program.values[static_cast<std::size_t>(out)].shape = {levels, colours, height, width};
    program.outputs = {out};
  }
  fd::EngineFile file() const {
    fd::EngineFile file;
    file.name = "net", file.x = "x", file.t = "t", file.context = "context";
    file.sample_shape[0] = colours, file.sample_shape[1] = height, file.sample_shape[2] = width;
    file.levels = levels, file.input_scale = 2.0 / (levels - 1), file.input_shift = -1;
    file.step = program;
    return file;
  }
  std::unique_ptr<fd::PixelEngine> engine(int threads,
                                          fd::Precision precision = fd::Precision::float32) const {
    fd::EngineOptions options;
    options.threads = threads, options.precision = precision, options.autotune = false;
    return fd::PixelEngine::make(file(), options);
  }
};

// Values of one image in float64, all of them for every pixel: no masks, no caches.
class Naive {
 public:
  explicit Naive(const Net& net) : net_(net) {}
  std::vector<double> logits(const std::vector<double>& x) {  // [levels, C, H, W]
    std::vector<std::vector<double>> v(net_.program.values.size());
    v[static_cast<std::size_t>(net_.program.inputs[0])] = x;
    for (const Node& node : net_.program.nodes) {
      v[static_cast<std::size_t>(node.output)] = run(node, v);
    }
    return v[static_cast<std::size_t>(net_.program.outputs[0])];
  }

 private:
  std::vector<double> run(const Node& node, const std::vector<std::vector<double>>& v) const {
    const auto in = [&](std::size_t i) -> const std::vector<double>& {
      return v[static_cast<std::size_t>(node.inputs[i])];
    };
    const std::size_t pixels = static_cast<std::size_t>(net_.height * net_.width);
    std::vector<double> out;
    switch (node.op) {
      case Op::conv2d:
        return conv(node, in(0));
      case Op::unary:
        for (const double x : in(0))
          out.push_back(node.unary == fd::Unary::relu ? std::max(x, 0.0) : std::tanh(x));
        return out;
      case Op::binary:
        for (std::size_t k = 0; k < in(0).size(); ++k) {
          out.push_back(node.binary == fd::Binary::add ? in(0)[k] + in(1)[k] : in(0)[k] * in(1)[k]);
        }
        return out;
      case Op::slice:
        out.assign(in(0).begin() +
                       static_cast<std::ptrdiff_t>(static_cast<std::size_t>(node.start) * pixels),
                   in(0).begin() +
                       static_cast<std::ptrdiff_t>(static_cast<std::size_t>(node.stop) * pixels));
        return out;
      case Op::concat:
        out = in(0);
        out.insert(out.end(), in(1).begin(), in(1).end());
        return out;
      case Op::permute: {  // [colours, levels] to [levels, colours]
        const auto levels = static_cast<std::size_t>(net_.levels),
                   colours = static_cast<std::size_t>(net_.colours);
        for (std::size_t l = 0; l < levels; ++l) {
          for (std::size_t c = 0; c < colours; ++c) {
            for (std::size_t p = 0; p < pixels; ++p)
              out.push_back(in(0)[(c * levels + l) * pixels + p]);
          }
        }
        return out;
      }
      default:
        return in(0);
    }
  }
  std::vector<double> conv(const Node& node, const std::vector<double>& x) const {
    const fd::Value& weight = net_.program.values[static_cast<std::size_t>(node.inputs[1])];
    const float* bias = net_.program.values[static_cast<std::size_t>(node.inputs[2])].constant;
    const auto out_channels = weight.shape[0], in_channels = weight.shape[1];
    const auto k = weight.shape[2];
    std::vector<double> out;
    for (std::int64_t o = 0; o < out_channels; ++o) {
      for (int i = 0; i < net_.height; ++i) {
        for (int j = 0; j < net_.width; ++j) {
          double sum = static_cast<double>(bias[o]);
          for (std::int64_t c = 0; c < in_channels; ++c) {
            for (std::int64_t ky = 0; ky < k; ++ky) {
              for (std::int64_t kx = 0; kx < k; ++kx) {
                const std::int64_t y = i + ky * node.dilation[0] - node.padding[0];
                const std::int64_t z = j + kx * node.dilation[1] - node.padding[1];
                if (y < 0 || y >= net_.height || z < 0 || z >= net_.width) continue;
                sum += static_cast<double>(
                           weight.constant[((o * in_channels + c) * k + ky) * k + kx]) *
                       x[static_cast<std::size_t>((c * net_.height + y) * net_.width + z)];
              }
            }
          }
          out.push_back(sum);
        }
      }
    }
    return out;
  }
  const Net& net_;
};

// Levels [C, H, W] as design: one choice after another. `ties` counts those within 1e-6 of an edge.
std::vector<int> naive_sample(const Net& net, std::uint64_t seed, const std::int32_t* given,
                              int* ties) {
  const std::size_t pixels = static_cast<std::size_t>(net.height * net.width);
  const auto colours = static_cast<std::size_t>(net.colours),
             levels = static_cast<std::size_t>(net.levels);
  std::vector<int> drawn(colours * pixels, 0);
  std::vector<double> x(colours * pixels, -1.0);
  Naive naive(net);
  for (std::size_t p = 0; p < pixels; ++p) {
    for (std::size_t c = 0; c < colours; ++c) {
      const std::vector<double> logits = naive.logits(x);
      std::vector<double> weight(levels);
      double most = -1e300, total = 0;
      for (std::size_t l = 0; l < levels; ++l)
        most = std::max(most, logits[(l * colours + c) * pixels + p]);
      for (std::size_t l = 0; l < levels; ++l) {
        weight[l] = std::exp(logits[(l * colours + c) * pixels + p] - most);
        total += weight[l];
      }
      const std::size_t element = p * colours + c;
      const fd::PhiloxBlock words =
          fd::noise_block(seed, 0, 3, static_cast<std::uint32_t>(element / 4));
      const double u = static_cast<double>(fd::uniform_of_word(words.word[element % 4]));
      double sum = 0;
      std::size_t level = 0;
      bool found = false;
      for (std::size_t l = 0; l < levels; ++l) {
        sum += weight[l] / total;
        if (l + 1 < levels && std::abs(sum - u) < 1e-6) ++*ties;
        if (!found && sum <= u && l + 1 < levels) level = l + 1;
        found = found || sum > u;
      }
      const std::int32_t fixed = given != nullptr ? given[c * pixels + p] : -1;
      const int chosen = fixed >= 0 ? fixed : static_cast<int>(level);
      drawn[c * pixels + p] = chosen;
      x[c * pixels + p] = chosen * 2.0 / (net.levels - 1) - 1;
    }
  }
  return drawn;
}

Net plain(int colours, int height, int width, int levels, int hidden, int blocks) {
  Net net(colours, height, width, levels);
  int h = net.conv(0, 2 * hidden, 7, 1, true);
  for (int k = 0; k < blocks; ++k) {
    int y = net.conv(net.unary(h, fd::Unary::relu), hidden, 1, 1, false);
    y = net.conv(net.unary(y, fd::Unary::relu), hidden, 3, 1, false);
    y = net.conv(net.unary(y, fd::Unary::relu), 2 * hidden, 1, 1, false);
    h = net.binary(fd::Binary::add, h, y);
  }
  net.finish(net.conv(net.unary(h, fd::Unary::relu), levels * colours, 1, 1, false));
  return net;
}

// Gates, dilations, a concatenation.
Net gated(int height, int width, int levels, int hidden) {
  Net net(1, height, width, levels);
  int h = net.conv(0, 2 * hidden, 5, 1, true);
  for (const int dilation : {1, 2}) {
    const int y = net.conv(h, 2 * hidden, 3, dilation, false);
    const int gate =
        net.binary(fd::Binary::mul, net.unary(net.slice(y, 0, hidden), fd::Unary::tanh),
                   net.unary(net.slice(y, hidden, 2 * hidden), fd::Unary::relu));
    h = net.concat(gate, net.slice(h, 0, hidden));
  }
  net.finish(net.conv(h, levels, 1, 1, false));
  return net;
}

void equals_naive(const Net& net, const char* name) {
  const std::size_t elements = static_cast<std::size_t>(net.colours * net.height * net.width);
  const std::vector<std::uint64_t> seeds = {3, 5, 1ull << 40, 8, 9};
  std::vector<std::vector<int>> expected;
  int ties = 0;
  for (const std::uint64_t seed : seeds)
    expected.push_back(naive_sample(net, seed, nullptr, &ties));
  for (const int threads : {1, 2, 3}) {
    const auto engine = net.engine(threads);
    for (const std::size_t n : {std::size_t{1}, std::size_t{2}, seeds.size()}) {
      const std::int64_t smallest = engine->smallest_slope();
      for (const std::int64_t slope :
           {std::int64_t{-1}, smallest, smallest + 1, std::max<std::int64_t>(smallest, net.width),
            smallest + net.width + 3}) {
        fd::PixelRequest request;
        request.n = n, request.seeds = seeds.data(), request.slope = slope;
        std::vector<std::int32_t> out(n * elements);
        CHECK(engine->sample(request, out.data()) == n * elements);
        std::size_t wrong = 0;
        for (std::size_t s = 0; s < n; ++s) {
          for (std::size_t e = 0; e < elements; ++e)
            wrong += out[s * elements + e] != expected[s][e] ? 1u : 0u;
        }
        if (wrong > 0)
          std::printf("%s: slope %d, %d threads, n %d: %d wrong, %d ties\n", name,
                      static_cast<int>(slope), threads, static_cast<int>(n),
                      static_cast<int>(wrong), ties);
        CHECK(wrong == 0 || ties > 0);
      }
    }
  }
}

std::string refusal(const Net& net) {
  try {
    net.engine(1);
  } catch (const fd::InvalidArgument& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST(plain_equals_naive) { equals_naive(plain(1, 9, 8, 16, 8, 2), "plain"); }
TEST(wide_equals_naive) { equals_naive(plain(1, 6, 11, 4, 20, 1), "wide"); }
TEST(one_pixel_equals_naive) { equals_naive(plain(1, 1, 1, 3, 4, 1), "one pixel"); }
TEST(one_column_equals_naive) { equals_naive(plain(1, 7, 1, 3, 4, 1), "one column"); }
TEST(one_row_equals_naive) { equals_naive(plain(1, 1, 7, 3, 4, 1), "one row"); }
TEST(three_colours_equals_naive) { equals_naive(plain(3, 4, 5, 6, 6, 1), "three colours"); }
TEST(two_colours_equals_naive) { equals_naive(plain(2, 5, 4, 2, 40, 1), "two colours"); }
TEST(gated_equals_naive) { equals_naive(gated(7, 9, 5, 8), "gated"); }

// The slope follows from the taps.
TEST(slopes_follow_from_taps) {
  const Net net = plain(1, 28, 28, 4, 4, 15);
  CHECK(net.engine(1)->smallest_slope() == 4);
  const fd::PixelGraph graph = fd::pixel_graph(net.program, "x");
  const fd::Wavefront plan = fd::wavefront(graph, 4);
  CHECK(plan.last_subtime() + 1 - plan.first_subtime() == 136);
  int rows = 0;
  for (std::size_t m = 1; m < plan.maps.size(); ++m) rows = std::max(rows, plan.maps[m].rows);
  CHECK(rows == 2);
  CHECK(plan.maps[0].rows == 4);
  CHECK(fd::runs_with(graph, fd::lookahead(graph, 4)) &&
        !fd::runs_with(graph, fd::lookahead(graph, 3)));
  bool refused = false;
  try {
    fd::wavefront(graph, 3);
  } catch (const fd::InvalidArgument&) {
    refused = true;
  }
  CHECK(refused);
}

// What must not be seen is named.
TEST(what_must_not_be_seen_is_named) {
  Net net(1, 6, 6, 4);
  net.finish(net.conv(net.conv(0, 8, 3, 1, true), 4, 3, 1, false, true));
  const std::string text = refusal(net);
  CHECK(text.find("row 3, column 3 depends on its input at row 3, column 3") != std::string::npos);
  Net seen(1, 6, 6, 4);
  seen.finish(seen.conv(0, 4, 1, 1, false));
  CHECK(refusal(seen).find("depends on its input at row 3, column 3") != std::string::npos);
}

// Ops over pixels have no place.
TEST(ops_over_pixels_are_refused) {
  Net net(1, 6, 6, 4);
  Node node;
  node.op = Op::softmax, node.dim = 2, node.inputs = {net.conv(0, 4, 3, 1, true)};
  net.finish(net.add(node, 4));
  CHECK(refusal(net).find("softmax at layer1") != std::string::npos);
}

// What is given stays, what follows depends on it; a rule; a run that is ended.
TEST(given_pixels_rules_and_cancelling) {
  const Net net = plain(1, 6, 7, 8, 8, 1);
  const auto engine = net.engine(2);
  std::vector<std::int32_t> given(2 * 42, -1);
  for (std::size_t k = 0; k < 14; ++k) given[k] = static_cast<std::int32_t>(k % 8);
  given[42 + 20] = 7;
  const std::uint64_t seeds[2] = {4, 9};
  fd::PixelRequest request;
  request.n = 2, request.seeds = seeds, request.given = given.data();
  std::vector<std::int32_t> out(2 * 42), more(2 * 42);
  engine->sample(request, out.data());
  int ties = 0;
  for (std::size_t s = 0; s < 2; ++s) {
    const auto expected = naive_sample(net, seeds[s], given.data() + s * 42, &ties);
    for (std::size_t k = 0; k < 42; ++k) CHECK(out[s * 42 + k] == expected[k] || ties > 0);
  }
  request.given = nullptr;
  request.rule.top_k = 1;  // the likeliest, whatever the seed
  engine->sample(request, out.data());
  CHECK(std::equal(out.begin(), out.begin() + 42, out.begin() + 42));
  request.rule = {1e-4f, 0};
  engine->sample(request, more.data());
  CHECK(out == more);
  request.rule = {};
  request.on_progress = [](std::size_t done, std::size_t) { return done < 20; };
  const std::size_t done = engine->sample(request, out.data());
  CHECK(done >= 20 && done < 84);
  const auto there =
      static_cast<std::size_t>(std::count_if(out.begin(), out.end(), [](int l) { return l >= 0; }));
  CHECK(there == done);
}

// Several at once from one engine.
TEST(one_engine_serves_several_threads) {
  const Net net = plain(1, 8, 8, 8, 16, 1);
  const auto engine = net.engine(2);
  const auto draw = [&](std::uint64_t seed) {
    fd::PixelRequest request;
    request.n = 1, request.seeds = &seed;
    std::vector<std::int32_t> out(64);
    engine->sample(request, out.data());
    return out;
  };
  std::vector<std::vector<std::int32_t>> alone, found(4);
  for (std::uint64_t s = 0; s < 4; ++s) alone.push_back(draw(s));
  std::vector<std::thread> threads;
  for (std::uint64_t s = 0; s < 4; ++s) threads.emplace_back([&, s] { found[s] = draw(s); });
  for (std::thread& thread : threads) thread.join();
  CHECK(found == alone);
}

// bf16 is the same for every order.
TEST(bf16_does_not_depend_on_the_order) {
  if (fd::max_isa_from_environment() < fd::Isa::avx512_bf16) return;
  const Net net = plain(1, 9, 8, 16, 24, 2);
  const auto engine = net.engine(2, fd::Precision::bf16);
  const std::uint64_t seeds[5] = {1, 2, 3, 4, 5};
  std::vector<std::int32_t> first;
  for (const std::int64_t slope : {4, 5, 8}) {
    fd::PixelRequest request;
    request.n = 5, request.seeds = seeds, request.slope = slope;
    std::vector<std::int32_t> out(5 * 72);
    engine->sample(request, out.data());
    if (first.empty()) first = out;
    CHECK(out == first);
  }
}

TEST_MAIN
