// Arguments and results of operators: JavaScript's values on one side, c10::IValue on the other, by the schema's types.
#pragma once

#include "environment.h"

namespace chameleon {

c10::IValue to_ivalue(Environment& environment, const Napi::Value& value, const c10::TypePtr& type);
Napi::Value from_ivalue(Napi::Env env, Environment& environment, const c10::IValue& value);
std::vector<int64_t> to_integers(const Napi::Value& value);
std::vector<at::Tensor> to_tensors(Environment& environment, const Napi::Value& value);

}  // namespace chameleon
