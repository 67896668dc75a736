// What prepared convolutions and networks share: oneDNN's headers where they are, and ATen's tensors as its memory.
#pragma once

#include <ATen/ATen.h>

#if defined(__has_include)
#if __has_include(<oneapi/dnnl/dnnl.hpp>)
#include <oneapi/dnnl/dnnl.hpp>
#define CHAMELEON_ONEDNN (DNNL_VERSION_MAJOR == 2)
#endif
#endif

#if CHAMELEON_ONEDNN

namespace chameleon::onednn {

inline const dnnl::engine& cpu() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

inline dnnl::stream& stream() {
  static thread_local dnnl::stream own(cpu());
  return own;
}

inline dnnl::memory::data_type type_of(at::ScalarType type) {
  using type_t = dnnl::memory::data_type;
  return type == at::kBFloat16 ? type_t::bf16 : type == at::kChar ? type_t::s8 : type_t::f32;
}

inline dnnl::memory::dims dims_of(const at::Tensor& tensor) { return {tensor.sizes().begin(), tensor.sizes().end()}; }

inline dnnl::memory memory_of(const dnnl::memory::desc& desc, const at::Tensor& tensor) { return {desc, cpu(), tensor.data_ptr()}; }

/// A filter [out, in, height, width] in the layout that a convolution wants.
inline at::Tensor packed(const at::Tensor& filter, const dnnl::memory::desc& wanted) {
  auto result = at::empty({static_cast<int64_t>(wanted.get_size())}, at::kByte);
  dnnl::memory from = memory_of({dims_of(filter), type_of(filter.scalar_type()), dnnl::memory::format_tag::oihw}, filter), to = memory_of(wanted, result);
  dnnl::reorder(from, to).execute(stream(), from, to);
  stream().wait();
  return result;
}

}  // namespace chameleon::onednn

#endif
