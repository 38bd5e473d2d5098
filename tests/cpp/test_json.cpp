// What is JSON and what is not, after RFC 8259 and the usual ways in which readers are too kind.

#include <clocale>
#include <cmath>
#include <limits>

#include "check.h"
#include "core/error.h"
#include "core/json.h"

namespace {

using fd::Json;

Json parse(const std::string& text) { return fd::parse_json(text, "text"); }

std::string repeated(const std::string& text, int times) {
  std::string out;
  for (int k = 0; k < times; ++k) out += text;
  return out;
}

}  // namespace

TEST(values_of_every_kind) {
  const Json json = parse(" { \"a\" : [ 1, -2.5e3 , true,false , null, \"x\" ] , \"b\":{} } ");
  CHECK(json.kind == Json::Kind::object);
  CHECK_EQUAL(json.keys.size(), 2u);
  const Json& a = *json.find("a");
  CHECK(a.kind == Json::Kind::array);
  CHECK_EQUAL(a.items.size(), 6u);
  CHECK_EQUAL(a.items[0].number, 1.0);
  CHECK_EQUAL(a.items[1].number, -2500.0);
  CHECK(a.items[2].kind == Json::Kind::boolean && a.items[2].boolean);
  CHECK(a.items[3].kind == Json::Kind::boolean && !a.items[3].boolean);
  CHECK(a.items[4].kind == Json::Kind::null);
  CHECK_EQUAL(a.items[5].string, "x");
  CHECK(json.find("b")->kind == Json::Kind::object);
  CHECK(json.find("c") == nullptr);
}

TEST(numbers_are_the_nearest_doubles_under_any_locale) {
  std::setlocale(LC_ALL, "de_DE.UTF-8");  // where it is there: a comma for a point
  const struct {
    const char* text;
    double value;
  } cases[] = {
      {"0", 0},
      {"-0", -0.0},
      {"0.1", 0.1},
      {"1e-05", 1e-5},
      {"1E+2", 100},
      {"9007199254740993", 9007199254740992.0},
      {"1.7976931348623157e308", std::numeric_limits<double>::max()},
      {"2.2250738585072014e-308", std::numeric_limits<double>::min()},
      {"5e-324", std::numeric_limits<double>::denorm_min()},
  };
  for (const auto& c : cases) {
    CHECK_EQUAL(parse(c.text).number, c.value);
    CHECK_EQUAL(std::signbit(parse(c.text).number), std::signbit(c.value));
  }
  std::setlocale(LC_ALL, "C");
}

TEST(strings_are_utf8_whatever_way_they_are_written) {
  CHECK_EQUAL(parse("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"").string, "\"\\/\b\f\n\r\t");
  CHECK_EQUAL(parse("\"\\u0041\\u00e9\\u20AC\\uD83D\\uDE00\"").string,
              "A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
  CHECK_EQUAL(parse("\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"").string,
              "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
  CHECK_EQUAL(parse("\"\\u0000\"").string, std::string(1, '\0'));
  const std::string odd = std::string("a\"b\\c\n\x01\0z", 9) + "\xC3\xA9";
  CHECK_EQUAL(parse(fd::json_quote(odd)).string, odd);
}

TEST(what_is_no_json_is_refused_with_its_place) {
  const struct {
    std::string text, message;
  } cases[] = {
      {"", "text: expected a JSON value at byte 0, got the end of the text"},
      {"  ", "a JSON value at byte 2"},
      {"1 2", "the end of the JSON at byte 2, got '2'"},
      {"tru", "a JSON value at byte 0, got 't'"},
      {"nul", "a JSON value"},
      {"NaN", "a JSON value"},
      {"Infinity", "a JSON value"},
      {"-", "a JSON value at byte 1"},
      {"-inf", "a JSON value"},
      {"01", "the end of the JSON at byte 1"},
      {"+1", "a JSON value"},
      {".5", "a JSON value"},
      {"1.", "a JSON value at byte 2"},
      {"1e", "a JSON value at byte 2"},
      {"1e999", "a number that a double can hold at byte 0"},
      {"0x10", "the end of the JSON at byte 1"},
      {"[1,]", "a JSON value at byte 3"},
      {"[1 2]", "',' at byte 3"},
      {"[", "a JSON value"},
      {"]", "a JSON value"},
      {"{\"a\" 1}", "':' at byte 5"},
      {"{\"a\":1,}", "'\"' at byte 7"},
      {"{a:1}", "'\"' at byte 1"},
      {"{\"a\":1,\"b\":2,\"a\":3}", "every key of an object once, got 'a' twice"},
      {"\"a", "a string's end"},
      {"\"\\", "an escape"},
      {"\"\\x\"", "an escape"},
      {"\"\\u12g4\"", "four hexadecimal digits"},
      {"\"\\ud800\"", "'\\'"},
      {"\"\\ud800\\u0041\"", "the second half of a surrogate pair"},
      {"\"\\udc00\"", "the first half of a surrogate pair"},
      {"\"\n\"", "a control character as an escape"},
      {"\"\xC0\x80\"", "UTF-8 at byte 1"},          // overlong
      {"\"\xE0\x80\x80\"", "UTF-8 at byte 1"},      // overlong
      {"\"\xED\xA0\x80\"", "UTF-8 at byte 1"},      // a surrogate
      {"\"\xF4\x90\x80\x80\"", "UTF-8 at byte 1"},  // above U+10FFFF
      {"\"\xC3\"", "UTF-8 at byte 1"},              // cut
      {"\"\x80\"", "UTF-8 at byte 1"},
      {"\xEF\xBB\xBF{}", "a JSON value at byte 0"},  // a byte order mark
      {"/**/1", "a JSON value"},
      {"'a'", "a JSON value"},
      {std::string("1\0", 2), "the end of the JSON at byte 1"},
  };
  for (const auto& c : cases) CHECK_THROWS(fd::InvalidArgument, c.message, parse(c.text));
}

TEST(depth_and_number_of_values_are_bounded) {
  parse(repeated("[", 32) + repeated("]", 32));
  CHECK_THROWS(fd::InvalidArgument, "JSON at most 32 levels deep, got more at byte 32",
               parse(repeated("[", 33) + repeated("]", 33)));
  CHECK_THROWS(fd::InvalidArgument, "32 levels", parse(repeated("{\"a\":", 1000000)));
  fd::JsonLimits limits;
  limits.values = 5;
  fd::parse_json("[1,2,3,4]", "text", limits);
  CHECK_THROWS(fd::InvalidArgument, "JSON of at most 5 values",
               fd::parse_json("[1,2,3,4,5]", "text", limits));
  CHECK_THROWS(fd::InvalidArgument, "at most 1048576 values",
               parse("[0" + repeated(",0", 1 << 20) + "]"));
}

TEST(names_in_messages_stay_on_one_short_line) {
  CHECK_EQUAL(fd::quoted("a\nb\xFFz"), "'a?b?z'");
  CHECK_EQUAL(fd::quoted("\xC3\xA9"), "'\xC3\xA9'");
  CHECK(fd::quoted(repeated("x", 1000)).size() < 70);
}

TEST(every_prefix_and_every_changed_byte_is_read_or_refused) {
  const std::string text =
      "{\"a\":[1,-2.5e-3,true,null,{\"b\":\"\\u00e9\xC3\xA9\\ud83d\\ude00\"}],\"c\":\"\"}";
  for (std::size_t length = 0; length < text.size(); ++length) {
    CHECK_THROWS(fd::InvalidArgument, "text: expected ", parse(text.substr(0, length)));
  }
  for (std::size_t at = 0; at < text.size(); ++at) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string changed = text;
      changed[at] = static_cast<char>(byte);
      try {
        parse(changed);
      } catch (const fd::InvalidArgument&) {
      }
    }
  }
}

TEST_MAIN
