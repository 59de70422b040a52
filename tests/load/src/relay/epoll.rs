//! The relay without a runtime: one thread, epoll, all writes of a loop turn together.

use std::cell::RefCell;
use std::io::{self, Read, Write};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::packet::{Routes, forward, packet};
use crate::wire;

const LISTENER: Token = Token(usize::MAX - 1);

struct Client {
    socket: TcpStream,
    /// An incomplete packet.
    rest: Vec<u8>,
    out: Vec<u8>,
    /// In the list of those to write to.
    dirty: bool,
    pid: u16,
}

#[derive(Default)]
struct Relay {
    routes: RefCell<Routes>,
    clients: Vec<Option<Client>>,
    free: Vec<usize>,
    dirty: Vec<usize>,
    buf: Vec<u8>,
    reply: Vec<u8>,
}

/// Relays until the sockets fail.
pub fn serve(listener: std::net::TcpListener) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut listener = TcpListener::from_std(listener);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut relay = Relay { buf: vec![0; 64 * 1024], ..Relay::default() };
    loop {
        poll.poll(&mut events, None)?;
        for e in &events {
            match e.token() {
                LISTENER => relay.accept(&listener, &poll)?,
                Token(me) => relay.event(me, e),
            }
        }
        relay.write();
    }
}

impl Relay {
    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> io::Result<()> {
        while let Ok((mut socket, _)) = listener.accept() {
            socket.set_nodelay(true)?;
            let at = self.free.pop().unwrap_or_else(|| {
                self.clients.push(None);
                self.clients.len() - 1
            });
            poll.registry().register(&mut socket, Token(at), Interest::READABLE | Interest::WRITABLE)?;
            self.clients[at] = Some(Client { socket, rest: vec![], out: vec![], dirty: false, pid: 0 });
        }
        Ok(())
    }

    fn event(&mut self, me: usize, e: &Event) {
        let Some(c) = self.clients[me].as_mut() else { return };
        if e.is_writable() && !c.out.is_empty() && !c.dirty {
            c.dirty = true;
            self.dirty.push(me);
        }
        let mut alive = true;
        while e.is_readable() && alive {
            let Some(c) = self.clients[me].as_mut() else { break };
            let n = match c.socket.read(&mut self.buf) {
                Ok(n @ 1..) => n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Ok(0) | Err(_) => {
                    alive = false;
                    break;
                }
            };
            alive = self.handle(me, n);
            if n < self.buf.len() {
                break;
            }
        }
        if !alive {
            self.clients[me] = None;
            self.routes.borrow_mut().drop(me);
            self.free.push(me);
        }
    }

    /// Handles `n` bytes that were read from `me`; false: it is leaving.
    fn handle(&mut self, me: usize, n: usize) -> bool {
        let Relay { routes, clients, dirty, buf, reply, .. } = self;
        let mut rest = clients[me].as_mut().map(|c| std::mem::take(&mut c.rest)).unwrap_or_default();
        let joined = !rest.is_empty();
        if joined {
            rest.extend_from_slice(&buf[..n]);
        }
        let data: &[u8] = if joined { &rest } else { &buf[..n] };
        let (mut at, mut alive) = (0, true);
        while let Ok(Some((head, len))) = wire::frame(&data[at..]) {
            alive &= packet(routes, me, &data[at..at + len], head, reply, |who, frame, pid_at| {
                let Some(t) = clients[who].as_mut() else { return };
                forward(&mut t.out, &mut t.pid, frame, pid_at);
                if !t.dirty {
                    t.dirty = true;
                    dirty.push(who);
                }
            });
            at += len;
        }
        let left = data[at..].to_vec();
        if let Some(c) = clients[me].as_mut() {
            c.rest = left;
            if !reply.is_empty() {
                c.out.append(reply);
                if !c.dirty {
                    c.dirty = true;
                    dirty.push(me);
                }
            }
        }
        alive
    }

    fn write(&mut self) {
        for who in self.dirty.drain(..) {
            let Some(c) = self.clients[who].as_mut() else { continue };
            c.dirty = false;
            if let Ok(n) = c.socket.write(&c.out) {
                c.out.drain(..n);
            }
        }
    }
}
