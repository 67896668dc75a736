// The yardstick of the exchange: a bare program on PyTorch's c10d, whose own all-reduce sums a float32 tensor over processes by Gloo.
// usage: c10d RANK WORLD PORT MEGABYTES SUMS; rank 0 prints the median of the sums in ms, after one that is not counted.
#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  const int rank = std::atoi(argv[1]), world = std::atoi(argv[2]), megabytes = std::atoi(argv[4]), sums = std::atoi(argv[5]);
  c10d::TCPStoreOptions meeting;
  meeting.port = static_cast<uint16_t>(std::atoi(argv[3]));
  meeting.isServer = rank == 0;
  meeting.numWorkers = world;
  auto store = c10::make_intrusive<c10d::TCPStore>("127.0.0.1", meeting);
  auto options = c10d::ProcessGroupGloo::Options::create(std::chrono::seconds(30));
  options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1"));
  options->threads = 2;
  c10d::ProcessGroupGloo group(store, rank, world, options);
  auto tensor = at::empty({megabytes * 1000000 / 4}, at::kFloat);
  std::vector<double> times;
  for (int i = 0; i <= sums; i++) {
    tensor.fill_(rank + 1);
    std::vector<at::Tensor> list{tensor};
    group.barrier()->wait();
    const auto start = std::chrono::steady_clock::now();
    group.allreduce(list)->wait();
    if (i > 0) times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  if (!(tensor == world * (world + 1) / 2).all().item<bool>()) return 1;
  std::sort(times.begin(), times.end());
  if (rank == 0) std::printf("{\"medianMs\": %f}\n", times[times.size() / 2]);
  return 0;
}
