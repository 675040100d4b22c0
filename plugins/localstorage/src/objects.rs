//! `objects.local`: a folder as a store of objects.
//!
//! `folder.rs` knows where an object lies and how it appears there, `attributes.rs` what is kept of it beside its bytes, `list.rs`
//! how it is found.

mod attributes;
mod folder;
mod list;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use mecha_plugin_api::object::{
    Body, Conditions, CopyRequest, DeleteRequest, GetRequest, ListPage, ListRequest, ObjectHead, ObjectStore,
    PutRequest, Read, Upload, Write,
};
use mecha_plugin_api::{Buf, CallContext, ComponentSpec, Error, Result};

use self::attributes::Attributes;
use self::folder::{Folder, Temp};
use crate::metadata::root_path;
use crate::work::{off_thread, perform};

/// How much is read at once, and gathered before it is written.
const PIECE: usize = 256 * 1024;

/// An open `objects.local` component.
pub(crate) struct LocalObjects {
    folder: Arc<Folder>,
}

impl LocalObjects {
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        let folder = off_thread(move || Folder::open(root_path(&spec)?)).await?;
        Ok(Self { folder: Arc::new(folder) })
    }
}

impl ObjectStore for LocalObjects {
    async fn get(&self, context: &CallContext, request: GetRequest) -> Result<Body> {
        let folder = self.folder.clone();
        perform(context, "get", move || {
            let (head, file) = folder.read(&request.key, &request.conditions)?;
            let range = request.range.within(head.size)?;
            let (first, length) = (range.start, range.end - range.start);
            Ok(Body::new(head, first, length, Reading { file: Arc::new(file), at: first, end: range.end }))
        })
        .await
    }

    async fn put(&self, context: &CallContext, request: PutRequest) -> Result<Upload> {
        let folder = self.folder.clone();
        perform(context, "put", move || {
            // Also checked at the end; here it saves the caller from sending what cannot be taken.
            folder.check(&request.key, &request.conditions)?;
            let attributes = Attributes::new(&request.content_type, &request.object_metadata);
            let temp = Some(folder.begin()?);
            let PutRequest { key, conditions, .. } = request;
            Ok(Upload::new(Writing {
                folder: folder.clone(),
                key: key.into(),
                conditions,
                attributes,
                temp,
                pending: Pending::default(),
            }))
        })
        .await
    }

    async fn head(&self, context: &CallContext, request: GetRequest) -> Result<ObjectHead> {
        let folder = self.folder.clone();
        perform(context, "head", move || Ok(folder.read(&request.key, &request.conditions)?.0)).await
    }

    async fn delete(&self, context: &CallContext, request: DeleteRequest) -> Result<()> {
        let folder = self.folder.clone();
        perform(context, "delete", move || folder.delete(&request.key, &request.conditions)).await
    }

    async fn list(&self, context: &CallContext, request: ListRequest) -> Result<ListPage> {
        let folder = self.folder.clone();
        perform(context, "list", move || list::page(&folder, &request)).await
    }

    async fn copy(&self, context: &CallContext, request: CopyRequest) -> Result<ObjectHead> {
        let folder = self.folder.clone();
        perform(context, "copy", move || {
            let (head, mut source) = folder.read(&request.source, &request.source_conditions)?;
            folder.check(&request.target, &request.conditions)?;
            let temp = folder.begin()?;
            temp.fill_from(&mut source)?;
            let attributes = Attributes::new(&head.content_type, &head.metadata);
            folder.commit(temp, &request.target, &request.conditions, &attributes)
        })
        .await
    }

    async fn ping(&self, _context: &CallContext) -> Result<()> {
        let folder = self.folder.clone();
        off_thread(move || folder.ping()).await
    }
}

/// A file on its way to the host.
struct Reading {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Reading {
    async fn next(&mut self, _context: &CallContext) -> Result<Option<Buf>> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(None);
        }
        let (file, at) = (self.file.clone(), self.at);
        let piece = off_thread(move || {
            let mut piece = vec![0; left.min(PIECE)];
            let read = file.read_at(&mut piece, at);
            let count =
                read.map_err(|error| Error::internal(format!("error reading the object: {error}")))?;
            piece.truncate(count);
            Ok(piece)
        })
        .await?;
        if piece.is_empty() {
            return Err(Error::internal("the object's file became shorter while it was read"));
        }
        self.at += piece.len() as u64;
        Ok(Some(piece.into()))
    }
}

/// An object on its way into the folder. Dropping it removes its file.
struct Writing {
    folder: Arc<Folder>,
    key: String,
    conditions: Conditions,
    attributes: Attributes,
    /// `None` once it was finished or aborted.
    temp: Option<Temp>,
    pending: Pending,
}

/// Pieces that wait until it is worth going to the disk.
#[derive(Default)]
struct Pending {
    pieces: Vec<Buf>,
    size: usize,
}

impl Writing {
    async fn flush(&mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let Some(temp) = &self.temp else { return Err(Error::internal("the upload has ended")) };
        let writer = temp.writer();
        off_thread(move || writer.append(&pending.pieces)).await
    }
}

impl Write for Writing {
    async fn write(&mut self, _context: &CallContext, piece: Buf) -> Result<()> {
        self.pending.size += piece.len();
        self.pending.pieces.push(piece);
        if self.pending.size < PIECE { Ok(()) } else { self.flush().await }
    }

    async fn finish(&mut self, context: &CallContext) -> Result<ObjectHead> {
        self.flush().await?;
        let Some(temp) = self.temp.take() else { return Err(Error::internal("the upload has ended")) };
        let (folder, key) = (self.folder.clone(), std::mem::take(&mut self.key));
        let (conditions, attributes) =
            (std::mem::take(&mut self.conditions), std::mem::take(&mut self.attributes));
        perform(context, "put finish", move || folder.commit(temp, &key, &conditions, &attributes)).await
    }

    async fn abort(&mut self, _context: &CallContext) -> Result<()> {
        let temp = self.temp.take();
        off_thread(move || temp.map_or(Ok(()), Temp::remove)).await
    }
}
