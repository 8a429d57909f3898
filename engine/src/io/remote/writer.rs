//! An object that is written to a store front to back, in parts.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use opendal::Writer;
use tokio::sync::{mpsc, oneshot};

use crate::io::host::{Host, Upload};
use crate::io::remote::Client;
use crate::io::remote::store::Store;
use crate::io::remote::thread;
use crate::limits::{REMOTE_PART_BYTES, REMOTE_PARTS_MAX};
use crate::types::{Error, ObjectName, Result};

/// A piece of the object, or its end.
enum Order {
    Piece { offset: u64, bytes: Bytes, taken: oneshot::Sender<Result<()>> },
    Seal { sealed: oneshot::Sender<Result<()>> },
}

/// See the module. Dropped before it is sealed it gives the object up: what the store holds of it
/// is nowhere visible.
pub(crate) struct RemoteWriter {
    orders: mpsc::UnboundedSender<Order>,
    bytes: Cell<u64>,
}

fn gone() -> Error {
    Error::invalid("the writer of an object has ended")
}

impl RemoteWriter {
    pub(super) fn start(client: Arc<Client>, name: ObjectName) -> Self {
        let (orders, given) = mpsc::unbounded_channel();
        thread::spawn(write(client, name, given));
        Self { orders, bytes: Cell::new(0) }
    }

    /// Adds a piece; pieces may come in any order, and wait for those before them.
    pub(crate) async fn write(&self, offset: u64, piece: &[u8]) -> Result<()> {
        let (taken, outcome) = oneshot::channel();
        let bytes = Bytes::copy_from_slice(piece);
        self.orders.send(Order::Piece { offset, bytes, taken }).map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())??;
        self.bytes.set(self.bytes.get() + piece.len() as u64);
        Ok(())
    }

    /// Makes the object durable and visible, and gives its bytes.
    pub(crate) async fn seal(self) -> Result<u64> {
        let (sealed, outcome) = oneshot::channel();
        self.orders.send(Order::Seal { sealed }).map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())??;
        Ok(self.bytes.get())
    }
}

/// Carries the orders of one object out.
async fn write(client: Arc<Client>, name: ObjectName, mut orders: mpsc::UnboundedReceiver<Order>) {
    let mut sink = match Sink::open(&client, name).await {
        Ok(sink) => sink,
        Err(error) => return refuse(orders, &error).await,
    };
    let mut early = BTreeMap::new();
    let mut end = 0;
    while let Some(order) = orders.recv().await {
        match order {
            Order::Piece { offset, bytes, taken } => {
                early.insert(offset, (bytes, taken));
            }
            Order::Seal { sealed } => {
                // Who asked may have gone; then nobody names the object.
                let _unheard = sealed.send(sink.close(name, end).await);
                return;
            }
        }
        while let Some((bytes, taken)) = early.remove(&end) {
            end += bytes.len() as u64;
            let written = sink.write(name, bytes).await;
            let failure = written.as_ref().err().cloned();
            let _unheard = taken.send(written);
            if let Some(error) = failure {
                sink.give_up().await;
                // What comes behind it, and what is there already, fails as it did.
                for (_, taken) in early.into_values() {
                    let _unheard = taken.send(Err(error.clone()));
                }
                return refuse(orders, &error).await;
            }
        }
    }
    sink.give_up().await;
}

/// Where the pieces of one object go.
enum Sink<'a> {
    Store(&'a Store, Box<Writer>),
    // None once a piece failed: it was given up then.
    Host(&'a Host, Option<Upload>),
}

impl<'a> Sink<'a> {
    async fn open(client: &'a Client, name: ObjectName) -> Result<Self> {
        Ok(match client {
            Client::Store(store) => Self::Store(store, Box::new(open(store, name).await?)),
            Client::Host(host) => Self::Host(host, Some(host.upload(&name))),
        })
    }

    async fn write(&mut self, name: ObjectName, bytes: Bytes) -> Result<()> {
        match self {
            Self::Store(store, writer) => {
                writer.write(bytes).await.map_err(|e| store.failed("write", &name).error(&e))
            }
            Self::Host(host, upload) => {
                let begun = upload.take().ok_or_else(gone)?;
                *upload = Some(host.write(begun, bytes).await?);
                Ok(())
            }
        }
    }

    async fn close(self, name: ObjectName, bytes: u64) -> Result<()> {
        match self {
            Self::Store(store, writer) => close(store, name, *writer, bytes).await,
            Self::Host(host, upload) => host.seal(upload.ok_or_else(gone)?).await,
        }
    }

    // Parts that stay are for the store's own rules to remove.
    async fn give_up(self) {
        match self {
            Self::Store(_, mut writer) => {
                let _left = writer.abort().await;
            }
            Self::Host(host, Some(upload)) => host.give_up(upload).await,
            Self::Host(_, None) => {}
        }
    }
}

async fn open(store: &Store, name: ObjectName) -> Result<Writer> {
    let path = name.to_string();
    let client = store.client().await?;
    let opened = client.patient.writer_with(&path);
    let opened = opened.chunk(REMOTE_PART_BYTES).concurrent(REMOTE_PARTS_MAX).await;
    opened.map_err(|e| store.failed("write", &name).error(&e))
}

/// Writes a whole object in parts.
pub(super) async fn put(store: &Store, name: ObjectName, bytes: Bytes) -> Result<()> {
    let mut writer = open(store, name).await?;
    let count = bytes.len() as u64;
    match writer.write(bytes).await {
        Ok(()) => close(store, name, writer, count).await,
        Err(e) => {
            let _left = writer.abort().await;
            Err(store.failed("write", &name).error(&e))
        }
    }
}

/// Joins the parts, and looks whether the object is there: some stores say yes and have done
/// nothing, as HDFS does where a folder is missing.
async fn close(store: &Store, name: ObjectName, mut writer: Writer, bytes: u64) -> Result<()> {
    let failed = |e| store.failed("write", &name).error(&e);
    let (path, client) = (name.to_string(), store.client().await?);
    if store.folders {
        let folder = &path[..=path.rfind('/').expect("an object's name has folders")];
        client.patient.create_dir(folder).await.map_err(failed)?;
    }
    writer.close().await.map_err(failed)?;
    let there = client.patient.stat(&path).await.map_err(failed)?.content_length();
    if there != bytes {
        let what = format!("with {there} bytes of the {bytes} that were written");
        return Err(store.failed("write", &name).answered(what));
    }
    Ok(())
}

async fn refuse(mut orders: mpsc::UnboundedReceiver<Order>, error: &Error) {
    while let Some(order) = orders.recv().await {
        let (Order::Piece { taken: heard, .. } | Order::Seal { sealed: heard }) = order;
        let _unheard = heard.send(Err(error.clone()));
    }
}
