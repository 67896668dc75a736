#include "convert.h"

#include <cmath>

namespace chameleon {
namespace {

using Kind = c10::TypeKind;

/// An optional tensor that isn't there is an undefined tensor in a boxed call; any other optional is None.
c10::IValue absent(const c10::TypePtr& type) {
  if (type->kind() == Kind::OptionalType && type->castRaw<c10::OptionalType>()->getElementType()->kind() == Kind::TensorType)
    return at::Tensor();
  return c10::IValue();
}

c10::IValue to_list(Environment& environment, const Napi::Value& value, const c10::TypePtr& element) {
  switch (element->kind()) {
    case Kind::IntType:
    case Kind::SymIntType:
      return c10::List<int64_t>(to_integers(value));
    case Kind::TensorType: {
      c10::List<at::Tensor> list;
      for (auto& tensor : to_tensors(environment, value)) list.push_back(tensor);
      return list;
    }
    case Kind::BoolType: {
      c10::List<bool> list;
      const auto array = value.As<Napi::Array>();
      for (uint32_t i = 0; i < array.Length(); i++) list.push_back(array.Get(i).As<Napi::Boolean>().Value());
      return list;
    }
    case Kind::FloatType: {
      c10::List<double> list;
      const auto array = value.As<Napi::Array>();
      for (uint32_t i = 0; i < array.Length(); i++) list.push_back(array.Get(i).As<Napi::Number>().DoubleValue());
      return list;
    }
    default:
      TORCH_CHECK(false, "cannot pass a list of ", element->str());
  }
}

/// A number that is whole goes as an integer, so that integer tensors stay integer.
c10::IValue to_scalar(const Napi::Value& value) {
  if (value.IsBoolean()) return value.As<Napi::Boolean>().Value();
  const double number = value.As<Napi::Number>().DoubleValue();
  if (std::trunc(number) == number && std::abs(number) < 9e15) return static_cast<int64_t>(number);
  return number;
}

}  // namespace

std::vector<int64_t> to_integers(const Napi::Value& value) {
  const auto array = value.As<Napi::Array>();
  std::vector<int64_t> out(array.Length());
  for (uint32_t i = 0; i < array.Length(); i++) out[i] = array.Get(i).As<Napi::Number>().Int64Value();
  return out;
}

std::vector<at::Tensor> to_tensors(Environment& environment, const Napi::Value& value) {
  const auto array = value.As<Napi::Array>();
  std::vector<at::Tensor> out;
  out.reserve(array.Length());
  for (uint32_t i = 0; i < array.Length(); i++) out.push_back(environment.tensors.get(array.Get(i).As<Napi::Number>().DoubleValue()));
  return out;
}

c10::IValue to_ivalue(Environment& environment, const Napi::Value& value, const c10::TypePtr& type) {
  if (value.IsNull() || value.IsUndefined()) return absent(type);
  switch (type->kind()) {
    case Kind::OptionalType:
      return to_ivalue(environment, value, type->castRaw<c10::OptionalType>()->getElementType());
    case Kind::TensorType:
      return environment.tensors.get(value.As<Napi::Number>().DoubleValue());
    case Kind::IntType:
    case Kind::SymIntType:
    case Kind::ScalarTypeType:
    case Kind::LayoutType:
    case Kind::MemoryFormatType:
      return value.As<Napi::Number>().Int64Value();
    case Kind::FloatType:
      return value.As<Napi::Number>().DoubleValue();
    case Kind::BoolType:
      return value.As<Napi::Boolean>().Value();
    case Kind::NumberType:
      return to_scalar(value);
    case Kind::StringType:
      return value.As<Napi::String>().Utf8Value();
    case Kind::DeviceObjType:
      return at::Device(value.As<Napi::String>().Utf8Value());
    case Kind::ListType:
      return to_list(environment, value, type->castRaw<c10::ListType>()->getElementType());
    default:
      TORCH_CHECK(false, "cannot pass a value of type ", type->str());
  }
}

Napi::Value from_ivalue(Napi::Env env, Environment& environment, const c10::IValue& value) {
  if (value.isTensor()) {
    if (!value.toTensor().defined()) return env.Null();
    return Napi::Number::New(env, environment.tensors.put(value.toTensor()));
  }
  if (value.isInt()) return Napi::Number::New(env, static_cast<double>(value.toInt()));
  if (value.isDouble()) return Napi::Number::New(env, value.toDouble());
  if (value.isBool()) return Napi::Boolean::New(env, value.toBool());
  if (value.isTensorList()) {
    const auto list = value.toTensorVector();
    auto out = Napi::Array::New(env, list.size());
    for (size_t i = 0; i < list.size(); i++) out.Set(static_cast<uint32_t>(i), Napi::Number::New(env, environment.tensors.put(list[i])));
    return out;
  }
  TORCH_CHECK(false, "cannot return a ", value.tagKind());
}

}  // namespace chameleon
