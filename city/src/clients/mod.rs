//! The clients that lessons use on a host: gRPC, raw bytes, WebSocket.
