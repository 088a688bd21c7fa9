//! The keeper's socket: who asks, and what is answered.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::rc::Rc;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use super::{Keeper, services};
use crate::lab::Lifetime;
use crate::lab::control::{Reply, Request, State};
use crate::trouble::{OrTrouble, Result, Trouble};

pub(super) fn listen(folder: &Path) -> Result<UnixListener> {
    let path = folder.join("control.sock");
    UnixListener::bind(&path).or_trouble(|| format!("cannot listen on {}", path.display()))
}

/// Answers until the City is over.
pub(super) async fn serve(keeper: Rc<Keeper>, socket: UnixListener) -> Result {
    let over = Rc::new(Notify::new());
    let mut term = signal(SignalKind::terminate()).or_trouble(|| "cannot wait for signals".into())?;
    // Its owner's terminal is not its own, but nobody should end a City by accident.
    let _int = signal(SignalKind::interrupt()).or_trouble(|| "cannot wait for signals".into())?;
    let _hup = signal(SignalKind::hangup()).or_trouble(|| "cannot wait for signals".into())?;
    let owned = keeper.options.lifetime == Lifetime::Owner;
    let gone = owner_is_gone();
    tokio::pin!(gone);
    loop {
        tokio::select! {
            accepted = socket.accept() => {
                if let Ok((stream, _)) = accepted {
                    let (keeper, over) = (keeper.clone(), over.clone());
                    tokio::task::spawn_local(async move {
                        // A client that broke off has nobody left to be told of it.
                        let _ = answer(&keeper, stream, &over).await;
                    });
                }
            }
            () = over.notified() => return Ok(()),
            () = &mut gone, if owned => return Ok(()),
            _ = term.recv() => return Ok(()),
        }
    }
}

/// The owner holds the other end of our standard input for as long as it lives.
pub(super) async fn owner_is_gone() {
    let lifeline = std::io::stdin().as_fd().try_clone_to_owned().ok();
    match lifeline.and_then(|fd| tokio::net::unix::pipe::Receiver::from_owned_fd(fd).ok()) {
        Some(mut lifeline) => drop(lifeline.read(&mut [0]).await),
        None => std::future::pending().await,
    }
}

async fn answer(keeper: &Keeper, mut stream: UnixStream, over: &Notify) -> std::io::Result<()> {
    let mut line = String::new();
    BufReader::new(&mut stream).take(64 * 1024).read_line(&mut line).await?;
    let request = match serde_json::from_str(&line) {
        Ok(request) => request,
        Err(error) => return say(&mut stream, &Reply::Refused(error.to_string())).await,
    };
    let reply = match request {
        Request::Status => {
            Ok(Reply::Status(keeper.hosts.iter().map(|live| keeper.status_of(live)).collect()))
        }
        Request::Listening { host } => {
            keeper.live(&host).map(|live| Reply::Listening(services::listening(live)))
        }
        Request::Act { host, action } => match keeper.live(&host) {
            Ok(live) => keeper.act(live, action).await.map(Reply::Done),
            Err(trouble) => Err(trouble),
        },
        Request::Enter { host } => return visit(keeper, stream, &host, over).await,
        Request::Down => {
            say(&mut stream, &Reply::Done(None)).await?;
            over.notify_one();
            return Ok(());
        }
    };
    say(&mut stream, &reply.unwrap_or_else(|trouble: Trouble| Reply::Refused(trouble.to_string()))).await
}

async fn say(stream: &mut UnixStream, reply: &Reply) -> std::io::Result<()> {
    let mut line = serde_json::to_string(reply)?;
    line.push('\n');
    stream.write_all(line.as_bytes()).await
}

/// Hands out the handle of a host, and counts the visitor until it hangs up.
async fn visit(keeper: &Keeper, mut stream: UnixStream, host: &str, over: &Notify) -> std::io::Result<()> {
    let live = match keeper.live(host) {
        Ok(live) if live.state.get() == State::Paused => {
            let why = format!("{host} is paused; first: cargo city unpause {host}");
            return say(&mut stream, &Reply::Refused(why)).await;
        }
        Ok(live) if live.state.get() == State::Stopped => {
            let why = format!("{host} is stopped; first: cargo city start {host}");
            return say(&mut stream, &Reply::Refused(why)).await;
        }
        Ok(live) => live,
        Err(trouble) => return say(&mut stream, &Reply::Refused(trouble.to_string())).await,
    };
    let reply = Reply::Enter {
        repository: keeper.record.repository.clone(),
        user_namespace: keeper.record.user_namespace,
    };
    let line = format!("{}\n", serde_json::to_string(&reply)?);
    let handle = [live.body.borrow().handle.as_raw_fd()];
    sendmsg::<()>(
        stream.as_raw_fd(),
        &[IoSlice::new(line.as_bytes())],
        &[ControlMessage::ScmRights(&handle)],
        MsgFlags::empty(),
        None,
    )?;
    keeper.visitors.set(keeper.visitors.get() + 1);
    let mut byte = [0];
    let _ = stream.read(&mut byte).await;
    keeper.visitors.set(keeper.visitors.get() - 1);
    if keeper.is_over() {
        keeper.let_finish(live).await;
    }
    // Somebody may have come meanwhile.
    if keeper.is_over() {
        over.notify_one();
    }
    Ok(())
}
