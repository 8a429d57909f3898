//! An object that is written to a store front to back, in parts.

use std::cell::Cell;
use std::collections::BTreeMap;

use bytes::Bytes;
use opendal::Writer;
use tokio::sync::{mpsc, oneshot};

use crate::io::remote::Remote;
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
    pub(super) fn start(remote: Remote, name: ObjectName) -> Self {
        let (orders, given) = mpsc::unbounded_channel();
        remote.clone().spawn(write(remote, name, given));
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
async fn write(remote: Remote, name: ObjectName, mut orders: mpsc::UnboundedReceiver<Order>) {
    let failed = |e| remote.failed("write", &name).error(&e);
    let mut writer = match open(&remote, name).await {
        Ok(writer) => writer,
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
                let closed = close(&remote, name, writer, end).await;
                // Who asked may have gone; then nobody names the object.
                let _unheard = sealed.send(closed);
                return;
            }
        }
        while let Some((bytes, taken)) = early.remove(&end) {
            end += bytes.len() as u64;
            let written = writer.write(bytes).await.map_err(failed);
            let _unheard = taken.send(written);
        }
    }
    // Given up. Parts that stay are for the store's own rules to remove.
    let _left = writer.abort().await;
}

async fn open(remote: &Remote, name: ObjectName) -> Result<Writer> {
    let path = name.to_string();
    let opened = remote.shared.patient.writer_with(&path);
    let opened = opened.chunk(REMOTE_PART_BYTES).concurrent(REMOTE_PARTS_MAX).await;
    opened.map_err(|e| remote.failed("write", &name).error(&e))
}

/// Writes a whole object in parts.
pub(super) async fn put(remote: &Remote, name: ObjectName, bytes: Bytes) -> Result<()> {
    let mut writer = open(remote, name).await?;
    let count = bytes.len() as u64;
    match writer.write(bytes).await {
        Ok(()) => close(remote, name, writer, count).await,
        Err(e) => {
            let _left = writer.abort().await;
            Err(remote.failed("write", &name).error(&e))
        }
    }
}

/// Joins the parts, and looks whether the object is there: some stores say yes and have done
/// nothing, as HDFS does where a folder is missing.
async fn close(remote: &Remote, name: ObjectName, mut writer: Writer, bytes: u64) -> Result<()> {
    let failed = |e| remote.failed("write", &name).error(&e);
    let path = name.to_string();
    if remote.shared.folders {
        let folder = &path[..=path.rfind('/').expect("an object's name has folders")];
        remote.shared.patient.create_dir(folder).await.map_err(failed)?;
    }
    writer.close().await.map_err(failed)?;
    let there = remote.shared.patient.stat(&path).await.map_err(failed)?.content_length();
    if there != bytes {
        let what = format!("with {there} bytes of the {bytes} that were written");
        return Err(remote.failed("write", &name).answered(what));
    }
    Ok(())
}

async fn refuse(mut orders: mpsc::UnboundedReceiver<Order>, error: &Error) {
    while let Some(order) = orders.recv().await {
        let (Order::Piece { taken: heard, .. } | Order::Seal { sealed: heard }) = order;
        let _unheard = heard.send(Err(error.clone()));
    }
}
