//! Ports that no other test has.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// Below what systems give to outgoing connections, so that a port stays free while its server is down.
const FIRST: u16 = 10_000;
const COUNT: u16 = 10_000;

/// How far the port of the cluster bus is from that of the clients.
const BUS: u16 = 10_000;

/// A port, and the one of its cluster bus, that are ours until this is dropped.
///
/// Redis listens on TCP. The UDP sockets of the same numbers are the lock between processes that look for ports at the
/// same time: the system gives each number once, and takes it back however its process ends.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _locks: [UdpSocket; 2],
}

impl Port {
    /// A pair of ports where nothing listens.
    pub(crate) fn free() -> Self {
        let begin = RandomState::new().build_hasher().finish() as u16;
        (0..COUNT)
            .map(|step| FIRST + (begin % COUNT + step) % COUNT)
            .find_map(Self::take)
            .expect("one port of ten thousand is free")
    }

    /// This pair, where nothing listens and nobody has it.
    pub(crate) fn take(number: u16) -> Option<Self> {
        let pair = [number, number + BUS].map(|port| (Ipv4Addr::LOCALHOST, port));
        let [lock, bus_lock] = pair.map(UdpSocket::bind);
        let locks = [lock.ok()?, bus_lock.ok()?];
        let free = pair
            .iter()
            .all(|address| TcpListener::bind(address).is_ok());
        free.then_some(Self {
            number,
            _locks: locks,
        })
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}
