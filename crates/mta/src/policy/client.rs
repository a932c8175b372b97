//! Whom a session is with: facts gathered once and used by all stages.

use std::net::IpAddr;

use postroad_wire_smtp::server::Hello;

use crate::directory::Account;

/// A session's client, as far as it is known.
#[derive(Clone, Debug)]
pub struct Client {
    pub peer: IpAddr,
    /// It came to a submission port.
    pub submits: bool,
    /// AUTH has proved that it is this account.
    pub account: Option<Account>,
    /// Its address is in `relay_networks`: it may send to anyone.
    pub relays: bool,
    /// Its address is in `exempt_networks`.
    pub exempt: bool,
    /// A name of its address that leads back to the address; known after stage connect, if it was looked up.
    pub name: Option<String>,
    /// Lists in DNS speak for it more than against it.
    pub vouched_for: bool,
    /// HELO or EHLO.
    pub hello: Option<Hello>,
    /// The connection is encrypted.
    pub tls: bool,
    /// Recipients that were refused to it so far.
    pub refused_recipients: u32,
}

impl Client {
    pub fn new(peer: IpAddr, submits: bool) -> Self {
        Client {
            peer,
            submits,
            account: None,
            relays: false,
            exempt: false,
            name: None,
            vouched_for: false,
            hello: None,
            tls: false,
            refused_recipients: 0,
        }
    }

    /// It has shown who it is, or its network is trusted: it may send to anyone.
    pub fn may_relay(&self) -> bool {
        self.relays || self.account.is_some()
    }

    /// Nothing speaks for it: checks against unwanted mail apply. Ports for submission take no mail without
    /// AUTH, and users' own addresses are on block lists for good reasons.
    pub fn is_stranger(&self) -> bool {
        !self.submits && !self.may_relay() && !self.exempt
    }
}

/// The network that one customer has: IPv4 /24, IPv6 /64.
pub fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) & 0xffff_ff00).into()),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
    }
}
