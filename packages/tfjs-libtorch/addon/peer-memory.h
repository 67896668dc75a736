// Memory of other processes on this machine, read without a connection between.
#pragma once

#include <array>
#include <cstdint>

namespace chameleon {

/// Where a process's numbers lie, for the others: what `PeerMemory` is made of, sent as bytes.
struct MemoryCard {
  int64_t process;
  uint64_t secret_at;
  std::array<uint64_t, 2> secret;
};

/// This process, as others may read it: a random number, and where it stands.
MemoryCard own_memory_card();

/// The memory of one other process of the same user on this machine.
class PeerMemory {
 public:
  explicit PeerMemory(int64_t process) : process_(process) {}

  /// Whether the process of a card is here, may be read, and is the one that gave the card: its secret stands where it says.
  static bool can_read(const MemoryCard& card);

  /// Copies bytes from there to here. Throws when the process has ended or has nothing there.
  void read(uint64_t from, void* to, int64_t bytes) const;

 private:
  int64_t process_;
};

}  // namespace chameleon
