// A test harness in one page: TEST cases, CHECKs that report and go on, and a main that runs all
// cases or those whose names are given. No framework, so that the tests build wherever the library
// does.
#pragma once

#include <cstdio>
#include <cstring>
#include <exception>
#include <sstream>
#include <string>
#include <vector>

namespace check {

struct Case {
  const char* name;
  void (*run)();
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

inline int& failures() {
  static int count = 0;
  return count;
}

struct Register {
  Register(const char* name, void (*run)()) { cases().push_back({name, run}); }
};

inline void report(const char* file, int line, const std::string& what) {
  ++failures();
  // A loop that fails everywhere would print for hours.
  if (failures() <= 20) std::printf("%s:%d: %s\n", file, line, what.c_str());
}

template <class A, class B>
void equal(const char* file, int line, const char* text, const A& a, const B& b) {
  if (a == b) return;
  std::ostringstream out;
  out << text << ": " << a << " is not " << b;
  report(file, line, out.str());
}

// The message of the exception of type E that body throws; reports where there's none.
template <class E, class Body>
std::string thrown(const char* file, int line, Body&& body) {
  try {
    body();
  } catch (const E& error) {
    return error.what();
  }
  report(file, line, "nothing was thrown");
  return "";
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

inline int run(int argc, char** argv) {
  int passed = 0, failed = 0;
  for (const Case& c : cases()) {
    bool wanted = argc < 2;
    for (int i = 1; i < argc; ++i) wanted = wanted || std::strcmp(argv[i], c.name) == 0;
    if (!wanted) continue;
    const int before = failures();
    try {
      c.run();
    } catch (const std::exception& error) {
      report(c.name, 0, std::string("threw ") + error.what());
    }
    (failures() == before ? passed : failed) += 1;
    std::printf("%s %s\n", failures() == before ? "ok  " : "FAIL", c.name);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 && passed > 0 ? 0 : 1;
}

}  // namespace check

#define TEST(name)                                           \
  static void name();                                        \
  static const check::Register register_##name(#name, name); \
  static void name()
#define CHECK(condition) \
  if (!(condition)) check::report(__FILE__, __LINE__, "false: " #condition)
#define CHECK_EQUAL(a, b) check::equal(__FILE__, __LINE__, #a " == " #b, a, b)
#define CHECK_THROWS(Type, part, ...)                                                          \
  do {                                                                                         \
    const std::string text_ = check::thrown<Type>(__FILE__, __LINE__, [&] { __VA_ARGS__; });   \
    if (!check::contains(text_, part)) check::report(__FILE__, __LINE__, "message: " + text_); \
  } while (false)
#define TEST_MAIN \
  int main(int argc, char** argv) { return check::run(argc, argv); }
