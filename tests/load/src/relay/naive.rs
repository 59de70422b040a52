//! A relay on tokio as commonly written: a channel per connection, one write and one `Vec` per message.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::mpsc::{Sender, channel};

use super::packet::{Routes, packet};
use crate::wire;

/// Messages that wait for a client at most; beyond that they are dropped.
const QUEUE_MAX: usize = 65_536;

#[derive(Default)]
struct Table {
    routes: Routes,
    clients: HashMap<usize, Sender<Vec<u8>>>,
}

type Shared = Arc<Mutex<Table>>;

fn lock(table: &Shared) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Relays until accepting fails.
pub async fn serve(listener: std::net::TcpListener) -> io::Result<()> {
    let table = Shared::default();
    let listener = TcpListener::from_std(listener)?;
    let mut me = 0;
    loop {
        let (s, _) = listener.accept().await?;
        s.set_nodelay(true)?;
        me += 1;
        let (r, mut w) = s.into_split();
        let (tx, mut rx) = channel::<Vec<u8>>(QUEUE_MAX);
        lock(&table).clients.insert(me, tx.clone());
        tokio::spawn(async move {
            while let Some(m) = rx.recv().await {
                if w.write_all(&m).await.is_err() {
                    break;
                }
            }
        });
        tokio::spawn(read(r, me, tx, table.clone()));
    }
}

async fn read(mut r: OwnedReadHalf, me: usize, tx: Sender<Vec<u8>>, table: Shared) {
    let (mut data, mut buf) = (Vec::new(), vec![0u8; 8192]);
    'all: while let Ok(n @ 1..) = r.read(&mut buf).await {
        data.extend_from_slice(&buf[..n]);
        let mut at = 0;
        while let Ok(Some((head, len))) = wire::frame(&data[at..]) {
            let mut t = lock(&table);
            let routes = RefCell::new(std::mem::take(&mut t.routes));
            let mut reply = Vec::new();
            let alive = packet(&routes, me, &data[at..at + len], head, &mut reply, |who, frame, _| {
                if let Some(tx) = t.clients.get(&who) {
                    tx.try_send(frame.to_vec()).ok();
                }
            });
            t.routes = routes.into_inner();
            drop(t);
            if !reply.is_empty() {
                tx.try_send(reply).ok();
            }
            at += len;
            if !alive {
                break 'all;
            }
        }
        data.drain(..at);
    }
    let mut t = lock(&table);
    t.routes.drop(me);
    t.clients.remove(&me);
}
