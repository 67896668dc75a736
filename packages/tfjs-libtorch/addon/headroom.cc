#include "headroom.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

namespace chameleon {
namespace {

/// Left to the rest of the process: a JavaScript engine that gets no memory ends it.
constexpr int64_t kReserve = int64_t{128} << 20;
constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

/// The number behind a name in a file of lines, "MemAvailable:   123 kB" or "inactive_file 123"; 0 where it isn't.
int64_t figure(std::ifstream file, const std::string& name) {
  std::string word;
  int64_t value = 0;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    if (words >> word >> value && word == name) return value;
  }
  return 0;
}

/// A file's one number; "max", as a control group says, and a file that isn't there are no limit.
int64_t number_in(const std::string& path) {
  int64_t value = 0;
  return std::ifstream(path) >> value ? value : kUnlimited;
}

int64_t left_to_the_machine() {
  return 1024 * (figure(std::ifstream("/proc/meminfo"), "MemAvailable:") + figure(std::ifstream("/proc/meminfo"), "SwapFree:"));
}

/// What a group's limit leaves; pages of files count as used there, but go when memory is wanted.
int64_t left_to_group(const std::string& folder, const char* limit, const char* usage, const std::string& prefix) {
  const int64_t most = number_in(folder + limit), used = number_in(folder + usage);
  if (most == kUnlimited || used == kUnlimited) return kUnlimited;
  const auto statistics = folder + "/memory.stat";
  return most - used + figure(std::ifstream(statistics), prefix + "inactive_file") + figure(std::ifstream(statistics), prefix + "active_file");
}

/// The least of the process's group and the groups around it. In a container its own group is the root of what it sees.
int64_t left_to_groups() {
  int64_t least = kUnlimited;
  std::ifstream groups("/proc/self/cgroup");
  // "0::/path" in version 2, "4:memory:/path" in version 1.
  for (std::string line; std::getline(groups, line);) {
    const bool second = line.rfind("0::", 0) == 0;
    const auto memory = line.find(":memory:");
    if (!second && memory == std::string::npos) continue;
    std::string path = second ? line.substr(3) : line.substr(memory + 8);
    for (;;) {
      const int64_t left = second ? left_to_group("/sys/fs/cgroup" + path, "/memory.max", "/memory.current", "")
                                  : left_to_group("/sys/fs/cgroup/memory" + path, "/memory.limit_in_bytes", "/memory.usage_in_bytes", "total_");
      least = std::min(least, left);
      if (path.empty()) break;
      path.erase(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
  }
  return least;
}

int64_t left_to_address_space() {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return kUnlimited;
  int64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return static_cast<int64_t>(limit.rlim_cur) - pages * sysconf(_SC_PAGE_SIZE);
}

}  // namespace

Headroom headroom() {
  Headroom least{left_to_the_machine(), "the machine's memory"};
  if (const auto left = left_to_groups(); left < least.bytes) least = {left, "its control group's memory"};
  if (const auto left = left_to_address_space(); left < least.bytes) least = {left, "`ulimit -v`"};
  least.bytes -= kReserve;
  return least;
}

}  // namespace chameleon
