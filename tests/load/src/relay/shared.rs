//! The batched relay on tokio: a task per connection; output goes into the receiver's buffer, whose task writes it all.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::task::spawn_local;
use tokio_rustls::TlsAcceptor;

use super::packet::{Routes, forward, packet};
use super::websocket::WebSocket;
use crate::wire;

/// A connection's output, filled by anyone; its task is woken to write it.
#[derive(Default)]
struct Slot {
    out: Vec<u8>,
    waker: Option<Waker>,
    pid: u16,
}

#[derive(Default)]
struct Shared {
    routes: RefCell<Routes>,
    slots: RefCell<Vec<Option<Slot>>>,
    free: RefCell<Vec<usize>>,
    /// One read buffer for all connections.
    buf: RefCell<Vec<u8>>,
}

/// Relays until accepting fails. Call it within a `LocalSet`.
pub async fn serve(listener: std::net::TcpListener, tls: Option<Arc<ServerConfig>>, ws: bool) -> io::Result<()> {
    let tls = tls.map(TlsAcceptor::from);
    let listener = TcpListener::from_std(listener)?;
    let shared = Rc::new(Shared { buf: RefCell::new(vec![0; 64 * 1024]), ..Shared::default() });
    loop {
        let (s, _) = listener.accept().await?;
        s.set_nodelay(true)?;
        let shared = shared.clone();
        // What is boxed is not part of the task of a connection that has no use for it.
        match (tls.clone(), ws) {
            (None, false) => drop(spawn_local(connection(s, shared))),
            (None, true) => drop(spawn_local(upgraded(s, shared))),
            (Some(tls), ws) => drop(spawn_local(async move {
                if let Ok(s) = Box::pin(tls.accept(s)).await {
                    match ws {
                        false => connection(Box::new(s), shared).await,
                        true => Box::pin(upgraded(s, shared)).await,
                    }
                }
            })),
        }
    }
}

/// A connection inside a WebSocket.
async fn upgraded<S: AsyncRead + AsyncWrite + Unpin>(stream: S, sh: Rc<Shared>) {
    if let Ok(stream) = Box::pin(WebSocket::accept(stream)).await {
        connection(Box::new(stream), sh).await
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin>(stream: S, sh: Rc<Shared>) {
    let me = sh.free.borrow_mut().pop().unwrap_or_else(|| {
        sh.slots.borrow_mut().push(None);
        sh.slots.borrow().len() - 1
    });
    sh.slots.borrow_mut()[me] = Some(Slot::default());
    let mut client = Client { stream, me, rest: Vec::new(), unflushed: false };
    std::future::poll_fn(|cx| client.poll(cx, &sh)).await;
    sh.slots.borrow_mut()[me] = None;
    sh.routes.borrow_mut().drop(me);
    sh.free.borrow_mut().push(me);
}

struct Client<S> {
    stream: S,
    me: usize,
    /// An incomplete packet.
    rest: Vec<u8>,
    /// TLS records that the socket has not taken yet.
    unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Ready: the client is gone.
    fn poll(&mut self, cx: &mut Context<'_>, sh: &Shared) -> Poll<()> {
        loop {
            if self.poll_send(cx, sh).is_err() {
                return Poll::Ready(());
            }
            let mut buf = sh.buf.borrow_mut();
            let mut buf = ReadBuf::new(&mut buf);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(()),
            }
            if !self.handle(buf.filled(), sh) {
                return Poll::Ready(());
            }
        }
    }

    #[inline]
    fn poll_send(&mut self, cx: &mut Context<'_>, sh: &Shared) -> io::Result<()> {
        if let Some(slot) = sh.slots.borrow_mut()[self.me].as_mut() {
            if !slot.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
                slot.waker = Some(cx.waker().clone());
            }
            while !slot.out.is_empty() {
                match Pin::new(&mut self.stream).poll_write(cx, &slot.out) {
                    Poll::Ready(n) => drop(slot.out.drain(..n?)),
                    Poll::Pending => break,
                }
                self.unflushed = true;
            }
            if slot.out.is_empty() && slot.out.capacity() > 4096 {
                slot.out = Vec::new();
            }
        }
        if self.unflushed
            && let Poll::Ready(r) = Pin::new(&mut self.stream).poll_flush(cx)
        {
            r?;
            self.unflushed = false;
        }
        Ok(())
    }

    /// Handles what was read; false: the client is leaving.
    #[inline]
    fn handle(&mut self, read: &[u8], sh: &Shared) -> bool {
        let joined = !self.rest.is_empty();
        if joined {
            self.rest.extend_from_slice(read);
        }
        let data: &[u8] = if joined { &self.rest } else { read };
        let (mut at, mut alive, mut reply) = (0, true, Vec::new());
        while let Ok(Some((head, len))) = wire::frame(&data[at..]) {
            alive &= packet(&sh.routes, self.me, &data[at..at + len], head, &mut reply, |who, frame, pid_at| {
                let mut slots = sh.slots.borrow_mut();
                let Some(t) = slots[who].as_mut() else { return };
                let first = t.out.is_empty();
                forward(&mut t.out, &mut t.pid, frame, pid_at);
                if let (true, Some(w)) = (first, &t.waker) {
                    w.wake_by_ref();
                }
            });
            at += len;
        }
        self.rest = data[at..].to_vec();
        if !reply.is_empty()
            && let Some(slot) = sh.slots.borrow_mut()[self.me].as_mut()
        {
            slot.out.append(&mut reply);
        }
        alive
    }
}
