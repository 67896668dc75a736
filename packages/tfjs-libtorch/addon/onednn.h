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

/// Values, and how they lie in memory.
struct Layout {
  dnnl::memory::desc desc;
  at::Tensor bytes;
};

inline at::Tensor bytes(const dnnl::memory::desc& desc) { return at::empty({static_cast<int64_t>(desc.get_size())}, at::kByte); }

/// A tensor as it lies, be it a view of whatever order.
inline Layout as_it_lies(const at::Tensor& tensor) { return {{dims_of(tensor), type_of(tensor.scalar_type()), {tensor.strides().begin(), tensor.strides().end()}}, tensor}; }

inline void reorder(const Layout& from, const Layout& to) {
  dnnl::memory in = memory_of(from.desc, from.bytes), out = memory_of(to.desc, to.bytes);
  dnnl::reorder(in, out).execute(stream(), in, out);
  stream().wait();
}

inline at::Tensor laid_out(const Layout& from, const dnnl::memory::desc& wanted) {
  const auto target = bytes(wanted);
  reorder(from, {wanted, target});
  return target;
}

}  // namespace chameleon::onednn

#endif
