// Groups of processes that sum tensors and share bytes, over PyTorch's c10d with Gloo or NCCL. The calls return at once; a
// thread of the group's own does the work and tells JavaScript's thread when it is done. Where the addon was compiled
// without the headers of either, each call throws an error that says so.
#pragma once

#include <napi.h>

namespace chameleon {

/// openGroup({kind: 'gloo' | 'nccl', rank, worldSize, host, port, prefix, address, timeoutMs}, onDone) → group: begins to meet the others at
/// host:port, where rank 0 keeps the store. `onDone(job, error, result)` is called once a job; meeting is job 0.
Napi::Value open_group(const Napi::CallbackInfo& info);
/// sumOverRanks(group, job, handle): a flat float32, float64 or bfloat16 tensor, summed where it lies. bfloat16 is summed in float32.
Napi::Value sum_over_ranks(const Napi::CallbackInfo& info);
/// settleSums(group, job): once it is done no other rank reads what was summed, and all have their sums.
Napi::Value settle_sums(const Napi::CallbackInfo& info);
/// beginSum(group, handle) → sum: the same for a float32 tensor of any shape, for this thread to wait for.
Napi::Value begin_sum(const Napi::CallbackInfo& info);
/// awaitSum(sum, ms) → boolean: waits so long at most; true once the tensor is the sum. Throws what kept the ranks from summing.
Napi::Value await_sum(const Napi::CallbackInfo& info);
/// sumNumbers(group, job, Float64Array): the result is a new Float64Array.
Napi::Value sum_numbers(const Napi::CallbackInfo& info);
/// broadcastBytes(group, job, Uint8Array | null, root): the result is the root's bytes.
Napi::Value broadcast_bytes(const Napi::CallbackInfo& info);
/// closeGroup(group, job): waits until the others close too; then lets go of all connections.
Napi::Value close_group(const Napi::CallbackInfo& info);
/// abandonGroup(group): no job is heard of any more; what it holds is let go of in the background.
Napi::Value abandon_group(const Napi::CallbackInfo& info);
/// placeInBucket(bucket, offset, gradient, filter): copies a gradient into its place in the bucket. On the bucket's
/// device the gradient's handle means that place from then on, so that its sum needs no copy back.
Napi::Value place_in_bucket(const Napi::CallbackInfo& info);
/// takeFromBucket(bucket, offset, gradient, filter): the sum's copy back, for a gradient on another device.
Napi::Value take_from_bucket(const Napi::CallbackInfo& info);

}  // namespace chameleon
