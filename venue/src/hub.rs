//! Who hears which stream.

use std::collections::{BTreeSet, HashMap};

use actix_web::web::Bytes;
use tokio::sync::mpsc::Sender;

/// A connection's number.
pub(crate) type ListenerId = u64;

/// How many frames wait for one connection.
pub(crate) const WAITING: usize = 4_096;

/// The most streams of one connection.
pub(crate) const MOST_STREAMS: usize = 1_024;

/// One connection and what it listens to.
#[derive(Debug)]
struct Listener {
    frames: Sender<Bytes>,
    streams: BTreeSet<String>,
    /// Whether frames are wrapped with the stream's name.
    is_combined: bool,
}

/// All connections that listen.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    listeners: HashMap<ListenerId, Listener>,
    streams: HashMap<String, Vec<ListenerId>>,
    next: ListenerId,
}

impl Hub {
    /// A connection begins to listen, to nothing yet.
    pub(crate) fn open(&mut self, frames: Sender<Bytes>, is_combined: bool) -> ListenerId {
        self.next += 1;
        self.listeners.insert(self.next, Listener { frames, streams: BTreeSet::new(), is_combined });
        self.next
    }

    /// A connection is gone.
    pub(crate) fn close(&mut self, id: ListenerId) {
        if let Some(listener) = self.listeners.remove(&id) {
            for stream in listener.streams {
                self.leave(&stream, id);
            }
        }
    }

    /// Adds streams; false, and none is added, where that would be too many.
    pub(crate) fn subscribe(&mut self, id: ListenerId, streams: &[String]) -> bool {
        let Some(listener) = self.listeners.get_mut(&id) else { return true };
        let new: Vec<&String> = streams.iter().filter(|stream| !listener.streams.contains(*stream)).collect();
        if listener.streams.len() + new.len() > MOST_STREAMS {
            return false;
        }
        for stream in new {
            if listener.streams.insert(stream.clone()) {
                self.streams.entry(stream.clone()).or_default().push(id);
            }
        }
        true
    }

    /// Drops streams.
    pub(crate) fn unsubscribe(&mut self, id: ListenerId, streams: &[String]) {
        for stream in streams {
            let listener = self.listeners.get_mut(&id);
            if listener.is_some_and(|listener| listener.streams.remove(stream)) {
                self.leave(stream, id);
            }
        }
    }

    /// What a connection listens to.
    pub(crate) fn streams(&self, id: ListenerId) -> Vec<String> {
        self.listeners.get(&id).map(|listener| listener.streams.iter().cloned().collect()).unwrap_or_default()
    }

    /// Whether a connection's frames are wrapped.
    pub(crate) fn set_combined(&mut self, id: ListenerId, is_combined: bool) {
        if let Some(listener) = self.listeners.get_mut(&id) {
            listener.is_combined = is_combined;
        }
    }

    /// Whether its frames are wrapped.
    pub(crate) fn is_combined(&self, id: ListenerId) -> bool {
        self.listeners.get(&id).is_some_and(|listener| listener.is_combined)
    }

    /// Whether anybody listens to a stream.
    pub(crate) fn is_heard(&self, stream: &str) -> bool {
        self.streams.get(stream).is_some_and(|listeners| !listeners.is_empty())
    }

    /// Who is to be sent what for one event of a stream.
    pub(crate) fn addressed(&self, stream: &str, data: &str) -> Vec<(ListenerId, Sender<Bytes>, Bytes)> {
        let Some(ids) = self.streams.get(stream) else { return Vec::new() };
        let bare = Bytes::copy_from_slice(data.as_bytes());
        let wrapped = Bytes::from(format!("{{\"stream\":\"{stream}\",\"data\":{data}}}"));
        let listeners = ids.iter().filter_map(|id| Some((*id, self.listeners.get(id)?)));
        listeners
            .map(|(id, listener)| {
                let frame = if listener.is_combined { wrapped.clone() } else { bare.clone() };
                (id, listener.frames.clone(), frame)
            })
            .collect()
    }

    /// Whether every connection has been handed all of its frames.
    pub(crate) fn is_idle(&self) -> bool {
        self.listeners.values().all(|listener| listener.frames.capacity() == listener.frames.max_capacity())
    }

    fn leave(&mut self, stream: &str, id: ListenerId) {
        if let Some(listeners) = self.streams.get_mut(stream) {
            listeners.retain(|other| *other != id);
            if listeners.is_empty() {
                self.streams.remove(stream);
            }
        }
    }
}
