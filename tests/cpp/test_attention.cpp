// Attention against cpu/reference/attention.h: numbers of queries, keys and widths around the
// vector widths and the blocks, heads as slices of a fused qkv buffer, large scores, infinite ones,
// and parts.

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "check.h"
#include "core/error.h"
#include "cpu/attention.h"
#include "cpu/dispatch.h"
#include "cpu/reference/attention.h"

namespace {

constexpr float kGuard = 777.0f;

// Queries [queries][heads * width + 3], keys and values in one buffer [keys][2 * ...] of its own:
// every token's heads side by side, as projections leave them, with a gap.
struct Problem {
  fd::AttentionCall call;
  std::vector<float> q, kv, out, scratch;

  Problem(int samples, int heads, int queries, int keys, int width, int value_width, float spread)
      : gap_(3) {
    const std::ptrdiff_t q_token = heads * width + gap_;
    const std::ptrdiff_t kv_token = heads * (width + value_width) + gap_;
    const std::ptrdiff_t out_token = heads * value_width + gap_;
    std::mt19937 random(11);
    std::normal_distribution<float> draw;
    q.resize(static_cast<std::size_t>(samples * queries * q_token));
    kv.resize(static_cast<std::size_t>(samples * keys * kv_token));
    for (float& x : q) x = spread * draw(random);
    for (float& x : kv) x = draw(random);
    out.assign(static_cast<std::size_t>(samples * queries * out_token), kGuard);
    call.samples = samples;
    call.heads = heads;
    call.queries = queries;
    call.keys = keys;
    call.width = width;
    call.value_width = value_width;
    call.scale = static_cast<float>(1 / std::sqrt(width));
    call.q = {q.data(), queries * q_token, width, q_token};
    call.k = {kv.data(), keys * kv_token, width, kv_token};
    call.v = {kv.data() + heads * width, keys * kv_token, value_width, kv_token};
    call.out = out.data();
    call.out_sample = queries * out_token;
    call.out_head = value_width;
    call.out_token = out_token;
    scratch.resize(fd::attention_scratch_floats(call));
    call.scratch = scratch.data();
  }
  Problem(const Problem&) = delete;

  void run(fd::Isa isa, int parts = 1) {
    std::fill(out.begin(), out.end(), kGuard);
    call.share.parts = parts;
    for (int part = parts - 1; part >= 0; --part) {
      call.share.part = part;
      std::fill(scratch.begin(), scratch.end(), std::nanf(""));  // what is in it must not matter
      fd::attention(call, isa);
    }
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::ptrdiff_t in_token = static_cast<std::ptrdiff_t>(i) % call.out_token;
      if (in_token >= call.heads * call.value_width) CHECK_EQUAL(out[i], kGuard);
    }
  }

 private:
  std::ptrdiff_t gap_;
};

struct Errors {
  double largest = 0, squares = 0, count = 0;
  void add(double error) {
    largest = std::max(largest, std::isfinite(error) ? std::abs(error) : HUGE_VAL);
    squares += error * error;
    count += 1;
  }
  double rms() const { return std::sqrt(squares / count); }
};

Errors errors_of(const Problem& problem, const std::vector<double>& expected) {
  Errors errors;
  const std::size_t here = static_cast<std::size_t>(problem.call.heads) *
                           static_cast<std::size_t>(problem.call.value_width);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const std::size_t at = i / here * static_cast<std::size_t>(problem.call.out_token) + i % here;
    errors.add(problem.out[at] - expected[i]);
  }
  return errors;
}

// At most twice the error of the same loops in float32 (and an ulp of what is averaged, which the
// loops do not make where there is one key): rms and largest.
void compare(Problem& problem) {
  const auto expected = fd::attention_reference<double>(problem.call);
  const auto plain = fd::attention_reference<float>(problem.call);
  Errors allowed;
  for (std::size_t i = 0; i < plain.size(); ++i) allowed.add(plain[i] - expected[i]);
  for (fd::Isa isa : fd::available_isas()) {
    problem.run(isa);
    const Errors errors = errors_of(problem, expected);
    const bool good =
        errors.rms() <= 2 * allowed.rms() + 6e-8 && errors.largest <= 2 * allowed.largest + 2.4e-7;
    CHECK(good);
    if (good) continue;
    std::printf("%s: %d queries, %d keys, widths %d, %d: largest %.3g (%.3g), rms %.3g (%.3g)\n",
                fd::isa_name(isa), problem.call.queries, problem.call.keys, problem.call.width,
                problem.call.value_width, errors.largest, allowed.largest, errors.rms(),
                allowed.rms());
  }
}

}  // namespace

TEST(queries_and_keys_of_any_number) {
  for (int queries : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100}) {
    for (int keys : {1, 2, 5, 6, 7, 12, 13, 63, 64, 65, 77, 129}) {
      Problem problem(1, 2, queries, keys, 8, 8, 1);
      compare(problem);
    }
  }
}

TEST(widths_of_any_size) {
  for (int width :
       {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 24, 40, 64, 65, 80, 128, 256}) {
    Problem same(2, 3, 33, 20, width, width, 1);
    compare(same);
    Problem other(1, 1, 21, 70, width, 19, 1);
    compare(other);
    Problem another(1, 1, 5, 70, 19, width, 1);
    compare(another);
  }
}

TEST(self_and_cross_attention_of_models) {
  Problem self(1, 4, 256, 256, 16, 16, 1);
  compare(self);
  Problem cross(2, 2, 64, 77, 40, 40, 1);
  compare(cross);
  Problem long_one(1, 1, 33, 1024, 32, 32, 1);
  compare(long_one);
}

TEST(large_scores) {
  for (float spread : {10.0f, 30.0f, 80.0f}) {  // scores of +- that and more
    Problem problem(1, 2, 70, 150, 16, 16, spread);
    compare(problem);
  }
}

// The largest scores first, or last: every block of keys then corrects what was summed, or is
// nothing beside it.
TEST(scores_that_rise_and_fall) {
  for (float slope : {0.5f, -0.5f, 10.0f, -10.0f}) {
    Problem problem(1, 1, 20, 300, 4, 4, 1);
    problem.call.scale = 1;
    for (int j = 0; j < 300; ++j) {
      problem.kv[static_cast<std::size_t>(j * problem.call.k.token)] =
          slope * static_cast<float>(j);
    }
    for (int n = 0; n < 20; ++n) {
      problem.q[static_cast<std::size_t>(n * problem.call.q.token)] = 1 + static_cast<float>(n % 3);
    }
    compare(problem);
  }
}

TEST(infinite_scores_as_torch_has_them) {
  const float inf = std::numeric_limits<float>::infinity();
  for (fd::Isa isa : fd::available_isas()) {
    Problem problem(1, 1, 20, 100, 1, 2, 1);
    std::fill(problem.q.begin(), problem.q.end(), 1.0f);
    for (int j = 0; j < 100; ++j) {
      problem.kv[static_cast<std::size_t>(j * problem.call.k.token)] = j == 90 ? 0.5f : -inf;
    }
    problem.run(isa);  // a whole block of keys that count for nothing, then one that has it all
    const float* chosen = problem.call.v.data + 90 * problem.call.v.token;
    for (int n = 0; n < 20; ++n) {
      CHECK_EQUAL(problem.call.out[n * problem.call.out_token], chosen[0]);
      CHECK_EQUAL(problem.call.out[n * problem.call.out_token + 1], chosen[1]);
    }
    problem.kv[static_cast<std::size_t>(90 * problem.call.k.token)] = -inf;
    problem.run(isa);
    CHECK(std::isnan(problem.call.out[0]));
    problem.kv[static_cast<std::size_t>(90 * problem.call.k.token)] = std::nanf("");
    problem.run(isa);
    CHECK(std::isnan(problem.call.out[0]));
  }
}

TEST(slices_of_a_fused_buffer) {
  const int tokens = 50, heads = 3, width = 10;
  Problem problem(2, heads, tokens, tokens, width, width, 1);
  std::vector<float> qkv(2 * 50 * 3 * 3 * 10);
  std::mt19937 random(3);
  std::normal_distribution<float> draw;
  for (float& x : qkv) x = draw(random);
  const std::ptrdiff_t token = 3 * heads * width;
  problem.call.q = {qkv.data(), tokens * token, width, token};
  problem.call.k = {qkv.data() + heads * width, tokens * token, width, token};
  problem.call.v = {qkv.data() + 2 * heads * width, tokens * token, width, token};
  compare(problem);
}

TEST(parts_and_blocks_do_not_matter) {
  for (fd::Isa isa : fd::available_isas()) {
    for (int heads : {1, 3}) {
      Problem problem(2, heads, 75, 90, 12, 9, 1);
      problem.run(isa);
      const auto whole = problem.out;
      for (int parts : {2, 3, 5, 100}) {
        problem.run(isa, parts);
        CHECK(problem.out == whole);
      }
      // A query by itself, in another lane of another block.
      fd::AttentionCall& call = problem.call;
      call.q.data += 41 * call.q.token;
      call.queries = 1;
      problem.run(isa);
      for (int i = 0; i < heads * 9; ++i) {
        const std::size_t at = static_cast<std::size_t>(i);
        CHECK_EQUAL(problem.out[at], whole[at + 41 * static_cast<std::size_t>(call.out_token)]);
      }
    }
  }
}

TEST(nothing_and_wrong_calls) {
  for (fd::Isa isa : fd::available_isas()) {
    Problem problem(1, 1, 5, 5, 4, 4, 1);
    fd::AttentionCall call = problem.call;
    call.queries = 0;
    fd::attention(call, isa);
    call.queries = 5;
    call.keys = 0;
    CHECK_THROWS(fd::InvalidArgument, "keys: expected at least 1, got 0", fd::attention(call, isa));
    call.keys = 5;
    call.share = {-1, 2};
    CHECK_THROWS(fd::InvalidArgument, "share: expected", fd::attention(call, isa));
    call.share = {};
    call.scratch = nullptr;
    CHECK_THROWS(fd::InvalidArgument, "scratch: expected", fd::attention(call, isa));
  }
}

TEST_MAIN
