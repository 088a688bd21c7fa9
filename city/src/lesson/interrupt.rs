//! Ctrl-C, SIGTERM and a closed terminal while lessons run: noticed at the next wait, so that everything is taken
//! down in order.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::trouble::{OrTrouble, Result, Trouble};

static RAISED: AtomicBool = AtomicBool::new(false);

/// The exit status after an interruption.
pub const STATUS: u8 = 130;

extern "C" fn raise(_signal: libc::c_int) {
    RAISED.store(true, Ordering::Relaxed);
}

/// From now on SIGINT, SIGTERM and SIGHUP raise the flag. The second one ends the process as it would have anyway.
pub fn watch() -> Result {
    // One shot: the signal's own effect is back after the first.
    let action = SigAction::new(SigHandler::Handler(raise), SaFlags::SA_RESETHAND, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let cannot = || format!("cannot watch for {signal}");
        // SAFETY: the handler only stores to an atomic, which is safe at any moment.
        let before = unsafe { sigaction(signal, &action) }.or_trouble(cannot)?;
        // Under nohup the terminal may go, and the work is to go on.
        if signal == Signal::SIGHUP && matches!(before.handler(), SigHandler::SigIgn) {
            // SAFETY: what was there before is put back.
            unsafe { sigaction(signal, &before) }.or_trouble(cannot)?;
        }
    }
    Ok(())
}

/// Whether the user wants to stop.
pub fn raised() -> bool {
    RAISED.load(Ordering::Relaxed)
}

/// The trouble of being stopped by the user.
pub fn trouble() -> Trouble {
    Trouble::new("interrupted").status(STATUS)
}
