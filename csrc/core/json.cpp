#include "core/json.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"

namespace fd {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The length of the UTF-8 sequence at text[0], 0 where it is none: overlong forms, surrogates and
// what lies above U+10FFFF are none (Unicode 15, table 3-7).
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[k]); };
  const auto within = [&](std::size_t k, unsigned lo, unsigned hi) {
    return k < text.size() && byte(k) >= lo && byte(k) <= hi;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return within(1, 0x80, 0xBF) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const unsigned lo = first == 0xE0 ? 0xA0 : 0x80, hi = first == 0xED ? 0x9F : 0xBF;
    return within(1, lo, hi) && within(2, 0x80, 0xBF) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const unsigned lo = first == 0xF0 ? 0x90 : 0x80, hi = first == 0xF4 ? 0x8F : 0xBF;
    return within(1, lo, hi) && within(2, 0x80, 0xBF) && within(3, 0x80, 0xBF) ? 4 : 0;
  }
  return 0;
}

void append_utf8(std::string* out, unsigned code) {
  const auto put = [out](unsigned byte) { out->push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

class Reader {
 public:
  Reader(std::string_view text, const std::string& name, const JsonLimits& limits)
      : text_(text), name_(name), limits_(limits) {}

  Json document() {
    Json json = value(0);
    space();
    if (at_ != text_.size()) fail("the end of the JSON");
    return json;
  }

 private:
  Json value(int depth) {
    space();
    if (depth >= limits_.depth) {
      fail_argument(name_, "JSON at most " + std::to_string(limits_.depth) + " levels deep",
                    "more at byte " + std::to_string(at_));
    }
    if (++values_ > limits_.values) {
      fail_argument(name_, "JSON of at most " + std::to_string(limits_.values) + " values",
                    "more at byte " + std::to_string(at_));
    }
    Json json;
    json.begin = at_;
    switch (peek()) {
      case '{':
        object(&json, depth);
        break;
      case '[':
        array(&json, depth);
        break;
      case '"':
        json.kind = Json::Kind::string;
        json.string = string();
        break;
      case 't':
        literal("true");
        json.kind = Json::Kind::boolean;
        json.boolean = true;
        break;
      case 'f':
        literal("false");
        json.kind = Json::Kind::boolean;
        break;
      case 'n':
        literal("null");
        break;
      default:
        json.kind = Json::Kind::number;
        json.number = number();
    }
    json.end = at_;
    return json;
  }

  void object(Json* json, int depth) {
    json->kind = Json::Kind::object;
    take('{');
    space();
    if (peek() == '}') return take('}');
    for (;;) {
      space();
      json->keys.push_back(string());
      space();
      take(':');
      json->items.push_back(value(depth + 1));
      space();
      if (peek() == '}') break;
      take(',');
    }
    take('}');
    std::vector<std::string_view> sorted(json->keys.begin(), json->keys.end());
    std::sort(sorted.begin(), sorted.end());
    const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
    if (twice != sorted.end()) {
      fail_argument(name_, "every key of an object once", quoted(*twice) + " twice");
    }
  }

  void array(Json* json, int depth) {
    json->kind = Json::Kind::array;
    take('[');
    space();
    if (peek() == ']') return take(']');
    for (;;) {
      json->items.push_back(value(depth + 1));
      space();
      if (peek() == ']') break;
      take(',');
    }
    take(']');
  }

  std::string string() {
    std::string out;
    take('"');
    for (;;) {
      if (at_ == text_.size()) fail("a string's end");
      const char c = text_[at_];
      if (c == '"') break;
      if (c == '\\') {
        ++at_;
        escape(&out);
        continue;
      }
      if (static_cast<unsigned char>(c) < 0x20) fail("a control character as an escape");
      const std::size_t length = utf8_length(text_.substr(at_));
      if (length == 0) fail("UTF-8");
      out.append(text_, at_, length);
      at_ += length;
    }
    take('"');
    return out;
  }

  void escape(std::string* out) {
    static constexpr std::string_view kLetters = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
    const char c = peek();
    const std::size_t simple = kLetters.find(c);
    if (c != '\0' && simple != std::string_view::npos) {
      ++at_;
      out->push_back(kMeanings[simple]);
      return;
    }
    if (c != 'u') fail("an escape");
    ++at_;
    unsigned code = hex4();
    if (code >= 0xD800 && code <= 0xDBFF) {
      take('\\');
      take('u');
      const unsigned low = hex4();
      if (low < 0xDC00 || low > 0xDFFF) fail("the second half of a surrogate pair");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xDC00 && code <= 0xDFFF) {
      fail("the first half of a surrogate pair");
    }
    append_utf8(out, code);
  }

  unsigned hex4() {
    unsigned code = 0;
    for (int k = 0; k < 4; ++k, ++at_) {
      const char c = peek();
      const int digit = is_digit(c)            ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) fail("four hexadecimal digits");
      code = code << 4 | static_cast<unsigned>(digit);
    }
    return code;
  }

  // from_chars alone would take "inf", "1." and ".5" too, so the grammar comes first.
  double number() {
    const std::size_t begin = at_;
    if (peek() == '-') ++at_;
    if (peek() == '0') {
      ++at_;
    } else {
      digits();
    }
    if (peek() == '.') {
      ++at_;
      digits();
    }
    if (peek() == 'e' || peek() == 'E') {
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      digits();
    }
    double number = 0;
    const auto result = std::from_chars(text_.data() + begin, text_.data() + at_, number);
    if (result.ec != std::errc()) {
      at_ = begin;
      fail("a number that a double can hold");
    }
    return number;
  }

  void digits() {
    if (!is_digit(peek())) fail("a JSON value");
    while (is_digit(peek())) ++at_;
  }

  void literal(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) fail("a JSON value");
    at_ += word.size();
  }

  void space() {
    while (at_ < text_.size() && std::string_view(" \t\n\r").find(text_[at_]) < 4) ++at_;
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void take(char c) {
    if (peek() != c) fail(std::string("'") + c + "'");
    ++at_;
  }

  [[noreturn]] void fail(const std::string& expected) const {
    const std::string at = " at byte " + std::to_string(at_);
    fail_argument(name_, expected + at,
                  at_ < text_.size() ? quoted(text_.substr(at_, 1)) : "the end of the text");
  }

  const std::string_view text_;
  const std::string& name_;
  const JsonLimits& limits_;
  std::size_t at_ = 0, values_ = 0;
};

}  // namespace

const Json* Json::find(std::string_view key) const {
  for (std::size_t k = 0; k < keys.size(); ++k) {
    if (keys[k] == key) return &items[k];
  }
  return nullptr;
}

Json parse_json(std::string_view text, const std::string& name, const JsonLimits& limits) {
  return Reader(text, name, limits).document();
}

std::string json_quote(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (byte < 0x20) {
      out += "\\u00";
      out += {kHex[byte >> 4], kHex[byte & 15]};
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string quoted(std::string_view text) {
  constexpr std::size_t kLongest = 60;
  std::string out = "'";
  for (std::size_t k = 0; k < text.size();) {
    const std::size_t length = utf8_length(text.substr(k));
    if (out.size() + length > kLongest) return out + "...'";
    const auto byte = static_cast<unsigned char>(text[k]);
    if (length == 0 || byte < 0x20 || byte == 0x7F) {
      out += '?';
      ++k;
    } else {
      out.append(text, k, length);
      k += length;
    }
  }
  return out + "'";
}

}  // namespace fd
