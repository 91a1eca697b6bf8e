// Structs described once, next to their definition, with TW_DESCRIBE(Type, field, ...): strict
// loading (unknown and missing keys refused, quantities as strings with units), writing in the
// order of the fields. A std::optional or defaulted field wrapped in TW_DEFAULTED may be left out.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "topology/json.hpp"
#include "topology/units.hpp"

namespace tw {

template <class Owner, class Member>
struct Field {
  std::string_view name;
  Member Owner::*member;
};
template <class Owner, class Member>
constexpr Field<Owner, Member> make_field(std::string_view name, Member Owner::*member) {
  return {name, member};
}

template <class T>
concept Described = requires {
  described_fields(static_cast<const T*>(nullptr));
};
// An enum with a table of names: provide `constexpr auto enum_names(const E*)`, a range of pairs.
template <class T>
concept NamedEnum = std::is_enum_v<T> && requires {
  enum_names(static_cast<const T*>(nullptr));
};

// May be left out of a file; then it keeps its default.
template <class T>
struct Defaulted {
  T value{};
  constexpr Defaulted() = default;
  constexpr Defaulted(T v) : value(std::move(v)) {}
  constexpr operator const T&() const { return value; }
  constexpr const T& operator*() const { return value; }
  constexpr const T* operator->() const { return &value; }
  friend bool operator==(const Defaulted&, const Defaulted&) = default;
};

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};
template <class T>
struct IsOptional<Defaulted<T>> : std::true_type {};
template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};
template <class T>
struct IsMap : std::false_type {};
template <class T>
struct IsMap<std::map<std::string, T>> : std::true_type {};
template <class T>
struct IsQuantity : std::is_same<T, Bytes> {};
template <int B, int F, int S, int D, int J>
struct IsQuantity<Quantity<B, F, S, D, J>> : std::true_type {};

template <class T>
T read(const JsonView& node);

template <class T>
void read_fields(const JsonView& node, T& out) {
  constexpr auto fields = described_fields(static_cast<const T*>(nullptr));
  const auto read_one = [&](const auto& field) {
    using Member = std::remove_reference_t<decltype(out.*(field.member))>;
    if (const auto found = node.find(field.name)) {
      out.*(field.member) = read<Member>(*found);
    } else if constexpr (!IsOptional<Member>::value) {
      node.fail("missing key \"" + std::string(field.name) + "\"");
    }
  };
  std::apply([&](const auto&... field) { (read_one(field), ...); }, fields);
  for (const std::string& key : node.keys()) {
    const bool known = std::apply([&](const auto&... f) { return ((f.name == key) || ...); }, fields);
    if (known) continue;
    std::string legal;
    std::apply([&](const auto&... f) { ((legal += (legal.empty() ? "" : ", ") + std::string(f.name)), ...); },
               fields);
    node.fail("unknown key \"" + key + "\"; legal keys: " + legal);
  }
}

template <class T>
T read_enum(const JsonView& node) {
  const std::string text = node.string();
  std::string legal;
  for (const auto& [value, name] : enum_names(static_cast<const T*>(nullptr))) {
    if (name == text) return value;
    legal += (legal.empty() ? "" : ", ") + std::string(name);
  }
  node.fail("unknown value \"" + text + "\"; legal: " + legal);
}

template <class T>
T read(const JsonView& node) {
  if constexpr (std::is_same_v<T, JsonView>) {
    return node;  // read later, by who knows what it holds
  } else if constexpr (std::is_same_v<T, bool>) {
    return node.boolean();
  } else if constexpr (std::is_integral_v<T>) {
    const std::int64_t value = node.integer();
    if (static_cast<std::int64_t>(static_cast<T>(value)) != value) node.fail("out of range");
    return static_cast<T>(value);
  } else if constexpr (std::is_same_v<T, double>) {
    return node.number();
  } else if constexpr (std::is_same_v<T, std::string>) {
    return node.string();
  } else if constexpr (IsQuantity<T>::value) {
    if (node.is_number()) node.fail("a bare number; write a string with a unit");
    const auto parsed = parse_unit<T>(node.string());
    if (!parsed.value) node.fail(parsed.error);
    return *parsed.value;
  } else if constexpr (NamedEnum<T>) {
    return read_enum<T>(node);
  } else if constexpr (IsOptional<T>::value) {
    return T(read<std::remove_cvref_t<decltype(*std::declval<T>())>>(node));
  } else if constexpr (IsVector<T>::value) {
    T out;
    if (!node.is_array()) node.fail("must be a list");
    for (std::size_t i = 0; i < node.size(); ++i) out.push_back(read<typename T::value_type>(node[i]));
    return out;
  } else if constexpr (IsMap<T>::value) {
    T out;
    for (const std::string& key : node.keys()) out.emplace(key, read<typename T::mapped_type>(node.at(key)));
    return out;
  } else {
    static_assert(Described<T>, "TW_DESCRIBE this type");
    T out{};
    read_fields(node, out);
    return out;
  }
}

template <class T>
Json to_json(const T& value);

template <class T>
Json fields_to_json(const T& value) {
  Json out = Json::object();
  const auto write_one = [&](const auto& field) {
    using Member = std::remove_cvref_t<decltype(value.*(field.member))>;
    if constexpr (IsOptional<Member>::value && requires { (value.*(field.member)).has_value(); }) {
      if (!(value.*(field.member)).has_value()) return;
    }
    out.set(field.name, to_json(value.*(field.member)));
  };
  std::apply([&](const auto&... field) { (write_one(field), ...); },
             described_fields(static_cast<const T*>(nullptr)));
  return out;
}

template <class T>
Json to_json(const T& value) {
  if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, double> || std::is_same_v<T, std::string>) {
    return Json(value);
  } else if constexpr (std::is_integral_v<T>) {
    return Json(static_cast<std::int64_t>(value));
  } else if constexpr (IsQuantity<T>::value) {
    return Json(to_string(value));
  } else if constexpr (NamedEnum<T>) {
    for (const auto& [each, name] : enum_names(static_cast<const T*>(nullptr))) {
      if (each == value) return Json(std::string_view(name));
    }
    return Json();
  } else if constexpr (IsOptional<T>::value) {
    return to_json(*value);
  } else if constexpr (IsVector<T>::value) {
    Json out = Json::array();
    for (const auto& each : value) out.push(to_json(static_cast<const typename T::value_type&>(each)));
    return out;
  } else if constexpr (IsMap<T>::value) {
    Json out = Json::object();
    for (const auto& [key, each] : value) out.set(key, to_json(each));
    return out;
  } else {
    return fields_to_json(value);
  }
}

template <class T>
T load(const std::string& path) {
  return read<T>(load_json(path));
}

}  // namespace tw

// TW_DESCRIBE(Type, a, b, ...) in the namespace of Type: the constexpr list of its fields.
#define TW_PARENS ()
#define TW_EXPAND(...) TW_EXPAND3(TW_EXPAND3(TW_EXPAND3(TW_EXPAND3(__VA_ARGS__))))
#define TW_EXPAND3(...) TW_EXPAND2(TW_EXPAND2(TW_EXPAND2(TW_EXPAND2(__VA_ARGS__))))
#define TW_EXPAND2(...) TW_EXPAND1(TW_EXPAND1(TW_EXPAND1(TW_EXPAND1(__VA_ARGS__))))
#define TW_EXPAND1(...) __VA_ARGS__
#define TW_FIELDS(Type, ...) __VA_OPT__(TW_EXPAND(TW_FIELD(Type, __VA_ARGS__)))
#define TW_FIELD(Type, name, ...) \
  ::tw::make_field(#name, &Type::name) __VA_OPT__(, TW_FIELD_AGAIN TW_PARENS(Type, __VA_ARGS__))
#define TW_FIELD_AGAIN() TW_FIELD
#define TW_DESCRIBE(Type, ...)                            \
  constexpr auto described_fields(const Type*) {          \
    return std::make_tuple(TW_FIELDS(Type, __VA_ARGS__)); \
  }                                                       \
  static_assert(true, "")
