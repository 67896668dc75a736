// Where ranks leave word for one another until they are connected: c10d's store over TCP, on one address. c10d's own TCPStore listens on all
// addresses of its host, and libtorch 1.13 has no way to tell it otherwise.
#pragma once

#include "peers.h"

#if defined(CHAMELEON_COLLECTIVES)

#include <cstdint>

namespace chameleon {

/// Rank 0's side, in a thread of its own. The members of one process share a server of one address and port: a group of before, which this
/// process has given up, may hold it for a moment longer. Throws where the address is none of this host's, or the port is taken.
class MeetingServer;
std::shared_ptr<MeetingServer> serve_meeting(const std::string& address, uint16_t port);

/// Connects to a server. Calls throw where it does not answer in time. `server`, if given, lives as long as the store.
c10::intrusive_ptr<c10d::Store> meeting_store(const std::string& host, uint16_t port, std::chrono::milliseconds timeout, std::shared_ptr<MeetingServer> server);

/// A socket that is connected with the host, or -1.
int connect_to(const std::string& host, uint16_t port, std::chrono::milliseconds timeout);

}  // namespace chameleon

#endif
