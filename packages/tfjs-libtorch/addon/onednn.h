// What our own calls of oneDNN share. Its headers are there where Debian's libdnnl-dev is installed; libtorch brings the library.
#pragma once

#if defined(__has_include)
#if __has_include(<oneapi/dnnl/dnnl.hpp>)
#include <oneapi/dnnl/dnnl.hpp>
#define CHAMELEON_ONEDNN (DNNL_VERSION_MAJOR == 2)
#endif
#endif

#if CHAMELEON_ONEDNN

#include <ATen/ATen.h>

namespace chameleon {
namespace onednn {

inline const dnnl::engine& cpu() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

inline dnnl::stream& stream() {
  static thread_local dnnl::stream own(cpu());
  return own;
}

inline dnnl::memory::data_type type_of(at::ScalarType type) { return type == at::kBFloat16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32; }

inline dnnl::memory memory_of(const dnnl::memory::desc& desc, const at::Tensor& tensor) { return {desc, cpu(), tensor.data_ptr()}; }

}  // namespace onednn
}  // namespace chameleon

#endif
