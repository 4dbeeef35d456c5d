//! Finds the triggers that an event fires: the enabled ones whose registrant still has the rights
//! they need. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use super::glob;
use crate::auth::stop_reason;
use crate::store::{
    AppId, Operations, ScriptId, Space, Trigger, TriggerDetail, TriggerId, TriggerKind,
};

/// The triggers of all apps.
#[derive(Default)]
pub(crate) struct Triggers {
    by_id: HashMap<TriggerId, Arc<Trigger>>,
    by_app: HashMap<AppId, Vec<Arc<Trigger>>>,
}

impl Triggers {
    pub(crate) fn of(triggers: Vec<Trigger>) -> Self {
        let mut table = Self::default();
        for trigger in triggers {
            let trigger = Arc::new(trigger);
            if trigger.disabled_at.is_none() && stop_reason(&trigger).is_none() {
                let app = table.by_app.entry(trigger.app_id.clone()).or_default();
                app.push(Arc::clone(&trigger));
            }
            table.by_id.insert(trigger.id.clone(), trigger);
        }
        table
    }

    /// Returns a trigger by its id, even if it is disabled or stopped.
    pub(crate) fn find(&self, id: &TriggerId) -> Option<&Arc<Trigger>> {
        self.by_id.get(id)
    }

    /// Returns every cron trigger that can fire.
    pub(crate) fn schedules(&self) -> impl Iterator<Item = &Arc<Trigger>> {
        let all = self.by_app.values().flatten();
        all.filter(|trigger| matches!(trigger.detail, TriggerDetail::Cron { .. }))
    }

    /// Returns the triggers on a changed entry, each with the operations that it listens to.
    pub(crate) fn on_write(
        &self,
        app_id: &AppId,
        space: Space,
        collection: &str,
        name: &str,
    ) -> impl Iterator<Item = (&Arc<Trigger>, &Operations)> {
        self.of_app(app_id).filter_map(move |trigger| match (&trigger.detail, space) {
            (TriggerDetail::Kv { collection: wanted, operations }, Space::Kv)
                if glob::matches(wanted, collection) =>
            {
                Some((trigger, operations))
            }
            (TriggerDetail::Files { bucket, path, operations }, Space::Files)
                if glob::matches(bucket, collection) && glob::matches(path, name) =>
            {
                Some((trigger, operations))
            }
            _ => None,
        })
    }

    /// Returns the trigger of a queue, if it has one.
    pub(crate) fn on_queue(&self, app_id: &AppId, name: &str) -> Option<&Arc<Trigger>> {
        self.of_app(app_id).find(
            |trigger| matches!(&trigger.detail, TriggerDetail::Queue { queue } if queue == name),
        )
    }

    /// Returns the triggers that listen to a topic.
    pub(crate) fn on_topic(
        &self,
        app_id: &AppId,
        name: &str,
    ) -> impl Iterator<Item = &Arc<Trigger>> {
        self.of_app(app_id).filter(move |trigger| {
            matches!(&trigger.detail, TriggerDetail::Pubsub { topic } if glob::matches(topic, name))
        })
    }

    /// Returns the triggers that fire on a dead letter.
    pub(crate) fn on_dead_letter(
        &self,
        app_id: &AppId,
        kind: TriggerKind,
        trigger_id: Option<&TriggerId>,
        script_id: &ScriptId,
    ) -> impl Iterator<Item = &Arc<Trigger>> {
        self.of_app(app_id).filter(move |trigger| match &trigger.detail {
            TriggerDetail::DeadLetter { source_kind, source_trigger_id, source_script_id } => {
                source_kind.is_none_or(|wanted| wanted == kind)
                    && source_trigger_id.as_ref().is_none_or(|wanted| Some(wanted) == trigger_id)
                    && source_script_id.as_ref().is_none_or(|wanted| wanted == script_id)
            }
            _ => false,
        })
    }

    fn of_app(&self, app_id: &AppId) -> impl Iterator<Item = &Arc<Trigger>> {
        self.by_app.get(app_id).into_iter().flatten()
    }
}
