#include "meeting-store.h"

#if defined(CHAMELEON_COLLECTIVES)

#include <netdb.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

namespace chameleon {
namespace {

using Bytes = std::vector<uint8_t>;
enum class Op : uint8_t { set, get, add, erase, count };
/// A request: op, the lengths of key and value, the two. An answer: whether the key was there, a length, the value.
struct Head {
  uint8_t op;
  uint32_t key, value;
} __attribute__((packed));
/// Who sends more, or comes when so many are there, is no rank.
constexpr uint32_t kMostBytes = 1 << 20;
constexpr size_t kMostClients = 8192;

struct Socket {
  int fd;
  explicit Socket(int given) : fd(given) {}
  Socket(Socket&& other) noexcept : fd(std::exchange(other.fd, -1)) {}
  Socket& operator=(Socket&& other) noexcept { return std::swap(fd, other.fd), *this; }
  ~Socket() {
    if (fd >= 0) close(fd);
  }
};

/// Calls `use` with each address of a host and a new socket for it, until one is taken.
template <class Use>
int first_socket(const std::string& host, uint16_t port, int flags, Use use) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return -1;
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> list(found, &freeaddrinfo);
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    Socket socket(::socket(one->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (socket.fd >= 0 && use(socket.fd, one)) return std::exchange(socket.fd, -1);
  }
  return -1;
}

Bytes answer_of(bool found, const Bytes& value) {
  Bytes out(5 + value.size());
  const auto length = static_cast<uint32_t>(value.size());
  out[0] = found ? 1 : 0;
  std::memcpy(out.data() + 1, &length, 4);
  std::copy(value.begin(), value.end(), out.begin() + 5);
  return out;
}

}  // namespace

class MeetingServer {
 public:
  MeetingServer(const std::string& address, uint16_t port)
      : listener_(first_socket(address, port, AI_PASSIVE,
                               [](int fd, const addrinfo* at) {
                                 const int yes = 1;
                                 setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
                                 return bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, 1024) == 0;
                               })),
        wake_(eventfd(0, EFD_CLOEXEC)) {
    TORCH_CHECK(listener_.fd >= 0, "nobody can listen on ", address, ":", port, " here (", std::strerror(errno), ")");
    thread_ = std::thread([this] { run(); });
  }

  ~MeetingServer() {
    const uint64_t one = 1;
    if (write(wake_.fd, &one, sizeof one) == sizeof one) thread_.join();
  }

 private:
  struct Client {
    Socket socket;
    Bytes heard;
  };

  void run() {
    for (;;) {
      std::vector<pollfd> polled{{wake_.fd, POLLIN, 0}, {listener_.fd, POLLIN, 0}};
      for (const auto& client : clients_) polled.push_back({client.socket.fd, POLLIN, 0});
      if (poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) return;
      if (polled[0].revents != 0) return;
      for (size_t i = clients_.size(); i-- > 0;)
        if (polled[i + 2].revents != 0 && !hear(clients_[i])) clients_.erase(clients_.begin() + static_cast<std::ptrdiff_t>(i));
      if (polled[1].revents != 0) {
        Socket socket(accept4(listener_.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (socket.fd >= 0 && clients_.size() < kMostClients) clients_.push_back({std::move(socket), {}});
      }
    }
  }

  /// Takes what has come and answers the requests that are whole; false where the client is gone, or is none.
  bool hear(Client& client) {
    uint8_t part[65536];
    const auto count = recv(client.socket.fd, part, sizeof part, 0);
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    if (count == 0) return false;
    auto& heard = client.heard;
    heard.insert(heard.end(), part, part + count);
    for (Head head; heard.size() >= sizeof head;) {
      std::memcpy(&head, heard.data(), sizeof head);
      if (head.key > kMostBytes || head.value > kMostBytes) return false;
      const size_t whole = sizeof head + head.key + head.value;
      if (heard.size() < whole) break;
      const auto key = heard.begin() + sizeof head, value = key + head.key;
      const auto answer = apply(static_cast<Op>(head.op), std::string(key, value), Bytes(value, value + head.value));
      // An answer is small; a client that reads none is let go.
      if (send(client.socket.fd, answer.data(), answer.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(answer.size())) return false;
      heard.erase(heard.begin(), heard.begin() + static_cast<std::ptrdiff_t>(whole));
    }
    return true;
  }

  Bytes apply(Op op, const std::string& key, const Bytes& value) {
    const auto place = values_.find(key);
    const bool found = place != values_.end();
    switch (op) {
      case Op::set:
        return values_[key] = value, answer_of(found, {});
      case Op::get:
        return answer_of(found, found ? place->second : Bytes());
      case Op::add: {
        // As c10d's own store: numbers are text.
        const auto sum = std::to_string((found ? std::atoll(std::string(place->second.begin(), place->second.end()).c_str()) : 0) + std::atoll(std::string(value.begin(), value.end()).c_str()));
        return answer_of(found, values_[key] = Bytes(sum.begin(), sum.end()));
      }
      case Op::erase:
        return values_.erase(key), answer_of(found, {});
      case Op::count: {
        const auto count = std::to_string(values_.size());
        return answer_of(true, Bytes(count.begin(), count.end()));
      }
    }
    return answer_of(false, {});
  }

  Socket listener_, wake_;
  std::vector<Client> clients_;
  std::map<std::string, Bytes> values_;
  std::thread thread_;
};

namespace {

class MeetingStore : public c10d::Store {
 public:
  MeetingStore(std::string host, uint16_t port, std::chrono::milliseconds timeout, std::shared_ptr<MeetingServer> server)
      : c10d::Store(timeout), host_(std::move(host)), port_(port), server_(std::move(server)), socket_(connect_to(host_, port_, timeout)) {
    TORCH_CHECK(socket_.fd >= 0, "nobody answers at ", host_, ":", port_);
  }

  void set(const std::string& key, const Bytes& value) override { call(Op::set, key, value); }
  int64_t add(const std::string& key, int64_t value) override { return number(*call(Op::add, key, text(value), true)); }
  bool deleteKey(const std::string& key) override { return call(Op::erase, key, {}).has_value(); }
  int64_t getNumKeys() override { return number(*call(Op::count, "", {})); }
  void wait(const std::vector<std::string>& keys) override { wait(keys, timeout_); }

  Bytes get(const std::string& key) override {
    wait({key});
    return call(Op::get, key, {}).value();
  }

  bool check(const std::vector<std::string>& keys) override {
    for (const auto& key : keys)
      if (!call(Op::get, key, {})) return false;
    return true;
  }

  void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds& timeout) override {
    const auto until = std::chrono::steady_clock::now() + timeout;
    for (auto pause = std::chrono::milliseconds(1); !check(keys); pause = std::min(2 * pause, std::chrono::milliseconds(20))) {
      if (timeout != kNoTimeout && std::chrono::steady_clock::now() > until) throw std::runtime_error("the ranks did not leave word at " + host_ + ":" + std::to_string(port_) + " in " + std::to_string(timeout.count()) + " ms");
      std::this_thread::sleep_for(pause);
    }
  }

  /// Newer c10d's, which wants another connection of the same kind.
  c10::intrusive_ptr<c10d::Store> clone() { return c10::make_intrusive<MeetingStore>(host_, port_, timeout_, server_); }
  Bytes compareSet(const std::string&, const Bytes&, const Bytes&) override { TORCH_CHECK(false, "ranks compare nothing in their store"); }

 private:
  static Bytes text(int64_t value) {
    const auto written = std::to_string(value);
    return {written.begin(), written.end()};
  }
  static int64_t number(const Bytes& value) { return std::atoll(std::string(value.begin(), value.end()).c_str()); }

  /// The value; none where the key was not there, but for `add`, which makes it.
  std::optional<Bytes> call(Op op, const std::string& key, const Bytes& value, bool makes = false) {
    std::lock_guard<std::mutex> lock(mutex_);
    const Head head{static_cast<uint8_t>(op), static_cast<uint32_t>(key.size()), static_cast<uint32_t>(value.size())};
    Bytes request(sizeof head + key.size() + value.size());
    std::memcpy(request.data(), &head, sizeof head);
    std::copy(key.begin(), key.end(), request.begin() + sizeof head);
    std::copy(value.begin(), value.end(), request.begin() + static_cast<std::ptrdiff_t>(sizeof head + key.size()));
    transfer(request.data(), request.size(), POLLOUT);
    uint8_t found = 0;
    uint32_t length = 0;
    transfer(&found, 1, POLLIN);
    transfer(&length, sizeof length, POLLIN);
    TORCH_CHECK(length <= kMostBytes, "what answers at ", host_, ":", port_, " is no meeting of ranks");
    Bytes answer(length);
    transfer(answer.data(), length, POLLIN);
    return found != 0 || makes ? std::optional<Bytes>(std::move(answer)) : std::nullopt;
  }

  void transfer(void* data, size_t size, short event) {
    for (auto* at = static_cast<uint8_t*>(data); size > 0;) {
      pollfd wanted{socket_.fd, event, 0};
      if (poll(&wanted, 1, timeout_ == kNoTimeout ? -1 : static_cast<int>(timeout_.count())) == 0) throw std::runtime_error("rank 0 does not answer at " + host_ + ":" + std::to_string(port_));
      const auto count = event == POLLOUT ? send(socket_.fd, at, size, MSG_NOSIGNAL) : recv(socket_.fd, at, size, 0);
      if (count < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (count <= 0) throw std::runtime_error("rank 0 is gone from " + host_ + ":" + std::to_string(port_));
      at += count;
      size -= static_cast<size_t>(count);
    }
  }

  const std::string host_;
  const uint16_t port_;
  const std::shared_ptr<MeetingServer> server_;
  const Socket socket_;
  std::mutex mutex_;
};

}  // namespace

std::shared_ptr<MeetingServer> serve_meeting(const std::string& address, uint16_t port) {
  static std::mutex mutex;
  static auto& servers = *new std::map<std::pair<std::string, uint16_t>, std::weak_ptr<MeetingServer>>;
  std::lock_guard<std::mutex> lock(mutex);
  auto& known = servers[{address, port}];
  auto server = known.lock();
  if (!server) known = server = std::make_shared<MeetingServer>(address, port);
  return server;
}

c10::intrusive_ptr<c10d::Store> meeting_store(const std::string& host, uint16_t port, std::chrono::milliseconds timeout, std::shared_ptr<MeetingServer> server) {
  return c10::make_intrusive<MeetingStore>(host, port, timeout, std::move(server));
}

int connect_to(const std::string& host, uint16_t port, std::chrono::milliseconds timeout) {
  return first_socket(host, port, 0, [timeout](int fd, const addrinfo* at) {
    connect(fd, at->ai_addr, at->ai_addrlen);
    pollfd wanted{fd, POLLOUT, 0};
    int error = 0;
    socklen_t size = sizeof error;
    return poll(&wanted, 1, static_cast<int>(timeout.count())) == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
  });
}

}  // namespace chameleon

#endif
