//! Telling what goes wrong when it begins and whenever it changes, not every few seconds for as long as it lasts.

use std::fmt::Display;

/// What went wrong last, until it is over.
#[derive(Default)]
pub(crate) struct Trouble(Option<String>);

impl Trouble {
    /// Whether this has not been told yet.
    pub(crate) fn is_new(&mut self, error: &impl Display) -> bool {
        let text = error.to_string();
        let new = self.0.as_ref() != Some(&text);
        self.0 = Some(text);
        new
    }

    /// It is over. Whether there was any.
    pub(crate) fn ended(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_until_it_is_over() {
        let mut trouble = Trouble::default();
        assert!(!trouble.ended());
        assert_eq!(["a", "a", "b", "b", "a"].map(|error| trouble.is_new(&error)), [true, false, true, false, true]);
        assert!(trouble.ended());
        assert!(!trouble.ended());
        assert!(trouble.is_new(&"a"));
    }
}
