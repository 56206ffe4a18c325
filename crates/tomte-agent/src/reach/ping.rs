//! Echo requests by ICMP (RFC 792, RFC 4443), over the socket that Linux gives
//! to ordinary users: see icmp(7), ping_group_range.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use tokio::net::UdpSocket;
use tomte_collect::Place;

use super::Found;

/// So many are sent, one after the other.
const REQUESTS: u16 = 3;
/// One that is not answered within this is lost, in a network that works.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn ask(place: &Place, within: Duration) -> Found {
    let address = match tokio::net::lookup_host((place.host.as_str(), 0)).await.map(|mut found| found.next()) {
        Ok(Some(address)) => address,
        Ok(None) => return Found::failed("it has no address"),
        Err(error) => return Found::failed(error),
    };
    let socket = match open(address).await {
        Ok(socket) => socket,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Found {
                cure: Some(
                    "sysctl -w net.ipv4.ping_group_range=\"0 2147483647\" (and keep it in /etc/sysctl.d): then every \
                     user may send echo requests."
                        .to_owned(),
                ),
                ..Found::failed("the kernel lets this user send no echo requests")
            };
        }
        Err(error) => return Found::failed(error),
    };
    let patience = PATIENCE.min(within / u32::from(REQUESTS + 1));
    let (mut answered, mut best) = (0, None);
    for number in 0..REQUESTS {
        if let Ok(Ok(took)) = tokio::time::timeout(patience, echo(&socket, address.is_ipv6(), number)).await {
            answered += 1;
            best = Some(best.map_or(took, |best: Duration| best.min(took)));
        }
    }
    Found {
        latency: best,
        loss: Some(1.0 - f64::from(answered) / f64::from(REQUESTS)),
        addresses: vec![address.ip().to_string()],
        error: (answered == 0).then(|| format!("{REQUESTS} echo requests were not answered")),
        ..Found::default()
    }
}

async fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let (family, protocol) = match address.ip() {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::DGRAM, flags, Some(protocol))?;
    // To the kernel it is a datagram socket like any other.
    let socket = UdpSocket::from_std(socket.into())?;
    socket.connect(address).await?;
    Ok(socket)
}

async fn echo(socket: &UdpSocket, v6: bool, number: u16) -> io::Result<Duration> {
    let (request, reply) = if v6 { (128, 129) } else { (8, 0) };
    let mut packet = [0_u8; 40];
    packet[0] = request;
    packet[6..8].copy_from_slice(&number.to_be_bytes());
    packet[8..13].copy_from_slice(b"tomte");
    // The kernel fills in the identifier; in version 6 the checksum too.
    let sum = checksum(&packet);
    packet[2..4].copy_from_slice(&sum.to_be_bytes());
    let began = Instant::now();
    socket.send(&packet).await?;
    let mut answer = [0; 128];
    loop {
        let length = socket.recv(&mut answer).await?;
        // A late answer to an earlier one does not count.
        if length >= 8 && answer[0] == reply && answer[6..8] == number.to_be_bytes() {
            return Ok(began.elapsed());
        }
    }
}

/// The Internet checksum (RFC 1071).
fn checksum(packet: &[u8]) -> u16 {
    let words = packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
