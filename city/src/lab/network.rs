//! The network of a local City: a bridge in the keeper's network namespace, and a veth pair for each host.
//!
//! A netlink socket stays in the namespace in which it was opened, so the keeper opens one in each host's
//! namespace and configures `eth0` there without a helper process.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use netlink_packet_route::link::{LinkAttribute, LinkMessage, State};
use netlink_packet_route::neighbour::NeighbourState;
use nix::sched::{CloneFlags, setns};
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, new_connection};

use crate::map::{GATEWAY, Host, NOWHERE, PREFIX};
use crate::trouble::{OrTrouble, Result};

const BRIDGE: &str = "city0";
/// Nobody has this hardware address. The bridge floods what is sent to it, and every host drops it.
const NOBODY: [u8; 6] = [0x02, 0, 0, 0, 0, 0x99];

/// The bridge, and the ends of the hosts' links that are plugged into it.
pub struct Network {
    handle: Handle,
    bridge: u32,
}

impl Network {
    /// Makes the bridge in the network namespace that this process is in.
    pub async fn new() -> Result<Network> {
        let handle = open()?;
        let bridge = LinkBridge::new(BRIDGE).up().build();
        handle.link().add(bridge).execute().await.or_trouble(|| "cannot make the City's bridge".into())?;
        let bridge = index_of(&handle, BRIDGE).await?;
        let address = handle.address().add(bridge, IpAddr::V4(GATEWAY), PREFIX);
        address.execute().await.or_trouble(|| "cannot give the City's bridge its address".into())?;
        Ok(Network { handle, bridge })
    }

    /// Joins a host to the bridge: `eth0` with its address, loopback, and the way to nowhere.
    ///
    /// `netns` is the host's network namespace, `own` the keeper's.
    pub async fn connect(&self, host: &Host, netns: &File, own: &File) -> Result {
        let failed = |what: &str| format!("cannot connect {} to the City's network ({what})", host.name);
        // The far end is born in the keeper's namespace under a name of its own, and moved and renamed at once.
        let (near, far) = (near_end(host), format!("{}-eth0", host.name));
        let pair = LinkVeth::new(&near, &far).controller(self.bridge).up().build();
        self.handle.link().add(pair).execute().await.or_trouble(|| failed("veth pair"))?;
        let moved = LinkMessageBuilder::<LinkUnspec>::new().name(&far).setns_by_fd(netns.as_raw_fd()).build();
        self.handle.link().set(moved).execute().await.or_trouble(|| failed("moving its end"))?;

        let inside = open_in(netns, own).or_trouble(|| failed("its namespace"))?;
        let lo = index_of(&inside, "lo").await?;
        let eth0 = index_of(&inside, &far).await?;
        let up = |index| LinkMessageBuilder::<LinkUnspec>::new().index(index).up();
        inside.link().set(up(lo).build()).execute().await.or_trouble(|| failed("loopback"))?;
        let renamed = up(eth0).name("eth0").build();
        inside.link().set(renamed).execute().await.or_trouble(|| failed("eth0"))?;
        let address = inside.address().add(eth0, IpAddr::V4(host.address()), PREFIX);
        address.execute().await.or_trouble(|| failed("its address"))?;
        // A permanent entry: an unanswered ARP request would turn timeouts into 'no route' after three seconds.
        let nowhere = inside.neighbours().add(eth0, IpAddr::V4(NOWHERE)).link_layer_address(&NOBODY);
        nowhere.state(NeighbourState::Permanent).execute().await.or_trouble(|| failed("the way to nowhere"))
    }

    /// Removes what may be left of the link of a host that is gone; the kernel takes its time with it.
    pub async fn disconnect(&self, host: &Host) {
        if let Ok(link) = index_of(&self.handle, &near_end(host)).await {
            let _ = self.handle.link().del(link).execute().await;
        }
    }

    /// Takes the keeper's end of a host's link up or down: the host loses its carrier, and keeps its addresses.
    pub async fn set_link(&self, host: &Host, up: bool) -> Result {
        let link = LinkMessageBuilder::<LinkUnspec>::new().name(near_end(host));
        let link = if up { link.up() } else { link.down() };
        let failed = || format!("cannot switch the link of {}", host.name);
        self.handle.link().set(link.build()).execute().await.or_trouble(failed)?;
        if up {
            // The bridge passes nothing on before the kernel has seen, in its own time, that its end is up.
            when_up(&self.handle, &near_end(host)).await.or_trouble(failed)?;
        }
        Ok(())
    }
}

/// Lets the other hosts know that one is there again: whoever has asked for it in vain would otherwise ask anew
/// only after up to a second.
///
/// The kernel announces an address (`arp_notify`) when the hardware address is set, be it to what it was.
pub async fn announce(host: &Host, netns: &File, own: &File) -> Result {
    let failed = || format!("cannot announce {}", host.name);
    let inside = open_in(netns, own).or_trouble(failed)?;
    // What is sent before the link is fully up again is lost.
    let Some(link) = when_up(&inside, "eth0").await.or_trouble(failed)? else { return Ok(()) };
    for attribute in link.attributes {
        if let LinkAttribute::Address(address) = attribute {
            let same = LinkMessageBuilder::<LinkUnspec>::new().index(link.header.index).address(address);
            inside.link().set(same.build()).execute().await.or_trouble(failed)?;
        }
    }
    Ok(())
}

/// The link of this name when it is fully up, or as it is after two seconds.
async fn when_up(handle: &Handle, name: &str) -> std::result::Result<Option<LinkMessage>, rtnetlink::Error> {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let link = handle.link().get().match_name(name.to_owned()).execute().try_next().await?;
        let up = |link: &LinkMessage| {
            link.attributes.iter().any(|one| matches!(one, LinkAttribute::OperState(State::Up)))
        };
        if link.as_ref().is_none_or(up) || Instant::now() >= deadline {
            return Ok(link);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The keeper's end of a host's link.
fn near_end(host: &Host) -> String {
    format!("to-{}", host.name)
}

/// A netlink connection in the network namespace that this process is in.
fn open() -> Result<Handle> {
    let (connection, handle, _) = new_connection().or_trouble(|| "cannot open a netlink socket".into())?;
    tokio::task::spawn_local(connection);
    Ok(handle)
}

/// A netlink connection in another network namespace. The keeper has one thread, which goes there and back.
fn open_in(netns: &File, own: &File) -> std::io::Result<Handle> {
    setns(netns, CloneFlags::CLONE_NEWNET)?;
    let opened = new_connection();
    setns(own, CloneFlags::CLONE_NEWNET)?;
    let (connection, handle, _) = opened?;
    tokio::task::spawn_local(connection);
    Ok(handle)
}

async fn index_of(handle: &Handle, name: &str) -> Result<u32> {
    let mut links = handle.link().get().match_name(name.to_owned()).execute();
    let link = links.try_next().await.or_trouble(|| format!("cannot find the link {name}"))?;
    link.map(|link| link.header.index).ok_or_else(|| crate::trouble::Trouble::new(format!("no link {name}")))
}
