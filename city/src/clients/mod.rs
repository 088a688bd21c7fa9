//! The clients that lessons use on a host: gRPC, raw bytes, WebSocket.
//!
//! Each prints what came back and nothing else, in a form that a lesson can show and compare.

pub mod dial;
pub mod grpc;
pub mod raw;
pub mod ws;

use std::future::Future;

use crate::trouble::{OrTrouble, Result};

/// Runs a client to its end, on this thread.
pub fn block_on<T>(client: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_trouble(|| "cannot start the runtime".into())?
        .block_on(client)
}
