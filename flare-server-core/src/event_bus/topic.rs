use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::cursor_file::CursorFile;
use super::group::Group;
use super::own_topic::OwnTopic;
use super::{TopicView, is_name};
use crate::log_file::{AsyncLogOptions, Durability, FileLayer, LogError};

/// A topic with its groups. Its folder has the cursors, and the log unless it is a view.
pub(super) struct Topic {
    pub(super) name: String,
    layer: Arc<dyn FileLayer>,
    folder: PathBuf,
    own: Option<Arc<OwnTopic>>,
    /// What is read; none while a view is awaited.
    content: watch::Sender<Option<Arc<dyn TopicView>>>,
    groups: Mutex<BTreeMap<String, Arc<Group>>>,
}

impl Topic {
    /// Opens a topic with records of its own. Blocks on the disk.
    pub(super) fn open_own(
        layer: Arc<dyn FileLayer>,
        folder: &Path,
        name: &str,
        options: AsyncLogOptions,
    ) -> Result<Self, LogError> {
        let durability = options.log.durability;
        let own = Arc::new(OwnTopic::open(layer.clone(), folder, name, options)?);
        let topic = Self::with_groups(layer, folder, name, Some(own.clone()))?;
        for group in topic.groups().values() {
            let (cursor, end) = (group.reached().unwrap_or(0), own.end());
            match durability {
                Durability::Lazy if cursor > end => group.take_back(end)?,
                _ => own.log().reader().check_cursor(&group.name, cursor)?,
            }
        }
        topic.content.send_replace(Some(own));
        Ok(topic)
    }

    /// Opens a topic whose view is yet to be registered. Blocks on the disk.
    pub(super) fn open_view(
        layer: Arc<dyn FileLayer>,
        folder: &Path,
        name: &str,
    ) -> Result<Self, LogError> {
        layer
            .create_folder(folder)
            .map_err(|error| LogError::io("create", folder, error))?;
        Self::with_groups(layer, folder, name, None)
    }

    fn with_groups(
        layer: Arc<dyn FileLayer>,
        folder: &Path,
        name: &str,
        own: Option<Arc<OwnTopic>>,
    ) -> Result<Self, LogError> {
        let mut groups = BTreeMap::new();
        let names = layer
            .list(folder)
            .map_err(|error| LogError::io("list", folder, error))?;
        for group in names.iter().filter_map(|name| CursorFile::group_of(name)) {
            if is_name(group) {
                let file = CursorFile::new(layer.clone(), folder, group);
                groups.insert(group.to_owned(), Arc::new(Group::load(group, file)?));
            }
        }
        Ok(Self {
            name: name.to_owned(),
            layer,
            folder: folder.to_path_buf(),
            own,
            content: watch::Sender::new(None),
            groups: Mutex::new(groups),
        })
    }

    pub(super) fn own(&self) -> Option<&Arc<OwnTopic>> {
        self.own.as_ref()
    }

    /// Sets the view; false if there is content already.
    pub(super) fn set_view(&self, view: Arc<dyn TopicView>) -> bool {
        self.content.send_if_modified(|content| {
            let free = content.is_none();
            if free {
                *content = Some(view);
            }
            free
        })
    }

    /// What is read, once there is something. Safe to cancel.
    pub(super) async fn content(&self) -> Arc<dyn TopicView> {
        let mut content = self.content.subscribe();
        loop {
            if let Some(view) = content.borrow_and_update().clone() {
                return view;
            }
            // The sender lives as long as `self`.
            drop(content.changed().await);
        }
    }

    /// What is read, if there is something already.
    pub(super) fn present(&self) -> Option<Arc<dyn TopicView>> {
        self.content.borrow().clone()
    }

    /// The group of this name. A new one begins at the floor, if there is content to say where
    /// that is.
    pub(super) fn group(&self, name: &str) -> Arc<Group> {
        let floor = self
            .content
            .borrow()
            .as_ref()
            .map(|content| content.floor());
        let mut groups = self.groups();
        let group = groups.entry(name.to_owned()).or_insert_with(|| {
            let group = Group::new(
                name,
                CursorFile::new(self.layer.clone(), &self.folder, name),
            );
            floor.inspect(|floor| group.begin(*floor));
            Arc::new(group)
        });
        group.clone()
    }

    /// The group of this name, if it ever subscribed.
    pub(super) fn known_group(&self, name: &str) -> Option<Arc<Group>> {
        self.groups().get(name).cloned()
    }

    /// Forgets a group, which then holds nothing back any more. Blocks on the disk.
    pub(super) fn forget(&self, group: &str) -> Result<(), LogError> {
        match self.groups().remove(group) {
            Some(group) if group.kept().is_some() => group.remove(),
            _ => Ok(()),
        }
    }

    /// What lies below it has been handled by all groups, whatever happens.
    pub(super) fn lowest_cursor(&self) -> Option<u64> {
        // A group that has not begun may be given anything.
        self.groups()
            .values()
            .map(|group| group.kept().unwrap_or(0))
            .min()
    }

    /// Frees the segments that all groups have passed.
    pub(super) async fn trim(&self) -> Result<(), LogError> {
        if let (Some(own), Some(lowest)) = (&self.own, self.lowest_cursor()) {
            own.log().trim(lowest, lowest).await?;
        }
        Ok(())
    }

    fn groups(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Group>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
