//! Operations on callbacks and flags.

use crate::model::foreign::Capture;
use crate::model::op::{Op, What};
use crate::model::state::{Frame, Handle, Held, MOST};
use crate::model::world::{Outcome, World};
use std::sync::Arc;
use umbel_core::Registration;

impl World {
    pub(super) fn on_cancel(self: &Arc<Self>, handle: &Handle, op: Op) -> Outcome {
        let Handle { token, node } = handle;
        let (callback, cancelled) = {
            let mut state = self.state();
            if state.registrations.len() >= MOST {
                return Ok(());
            }
            let callback = state.forest.callback(*node);
            (callback, state.forest.trees.is_cancelled(*node))
        };
        let capture = Capture {
            world: Arc::clone(self),
            callback,
            mood: op.mood,
        };
        let frame = Frame {
            registers: cancelled.then_some(callback),
            ..Frame::default()
        };
        let registration = self.call(frame, || token.on_cancel(move || capture.call()));
        let mut state = self.state();
        if cancelled != state.forest.was_called(callback) {
            state.note(Err("called by its registration, or not".into()));
        }
        let real = registration?;
        state.forest.trees.open_handle(*node);
        state.registrations.push(Held {
            real,
            node: *node,
            callback,
        });
        Ok(())
    }

    pub(super) fn end_registration(&self, held: Held<Registration>, how: What) -> Outcome {
        let Held {
            real,
            node,
            callback,
        } = held;
        if how == What::Forget {
            self.state().forest.forget(callback);
            return self.close(node, || real.forget());
        }
        let expected = self.state().forest.unregister(callback);
        if how == What::DropRegistration {
            return self.close(node, || drop(real));
        }
        let mut first = expected;
        let outcome = self.close(node, || first = real.unregister());
        if first != expected {
            let wrong = format!("unregister returns {first}");
            self.state().note(Err(wrong));
        }
        outcome
    }

    pub(super) fn flag(&self, handle: &Handle) -> Outcome {
        let node = handle.node;
        if self.state().flags.len() < MOST {
            let real = self.call(Frame::default(), || handle.token.flag())?;
            let mut state = self.state();
            state.forest.trees.open_handle(node);
            let born_set = state.forest.trees.is_cancelled(node);
            let held = Held {
                real,
                node,
                callback: 0,
            };
            state.flags.push((held, born_set));
        }
        Ok(())
    }
}
