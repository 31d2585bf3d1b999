//! What holds for any document.

use proptest::prelude::*;

use super::documents::{Dice, Document, Scalar, documents, pointer, scalars};
use super::*;

/// The form of a document in one of the many ways to write it.
fn form_of(document: &Document, dice: u64) -> Option<String> {
    form(&document.write(&mut Dice(dice)))
}

proptest! {
    #[test]
    fn however_it_is_written_a_document_has_one_form(
        document in documents(), one: u64, other: u64,
    ) {
        let form_of_one = form_of(&document, one);

        prop_assert!(form_of_one.is_some());
        prop_assert_eq!(&form_of_one, &form_of(&document, other));
        prop_assert_eq!(form_of_one.as_deref().and_then(form), form_of_one);
    }

    #[test]
    fn any_change_of_a_scalar_changes_the_form(
        document in documents(), scalar in scalars(), at: prop::sample::Index, dice: u64,
    ) {
        let mut changed = document.clone();
        let mut inside = changed.scalars();
        prop_assume!(!inside.is_empty());
        **at.get_mut(&mut inside) = scalar;
        prop_assume!(changed != document);

        prop_assert_ne!(form_of(&changed, dice), form_of(&document, dice));
    }

    #[test]
    fn an_excluded_value_is_as_good_as_gone(document in documents(), dice: u64) {
        let mut dice = Dice(dice);
        let way = document.way(&mut dice);
        prop_assume!(!way.is_empty());
        let (last, before) = way.split_last().unwrap();
        let mut without = document.clone();
        match without.at(before) {
            Document::Object(members) => drop(members.remove(last)),
            elements => *elements.at(std::slice::from_ref(last)) = null(),
        }

        let reduced = reduced(&document.write(&mut dice), &[], &[&pointer(&way)]);

        prop_assert_eq!(reduced, form(&without.write(&mut dice)));
    }

    #[test]
    fn an_included_value_is_all_that_counts(document in documents(), dice: u64) {
        let mut dice = Dice(dice);
        let way = document.way(&mut dice);
        prop_assume!(!way.is_empty());
        let pointer = pointer(&way);
        let value = document.clone().at(&way).clone();
        let pair = Document::Object([(pointer.clone(), value)].into());

        let reduced = reduced(&document.write(&mut dice), &[&pointer], &[]);

        prop_assert_eq!(reduced, form(&pair.write(&mut dice)));
    }

    #[test]
    fn any_bytes_are_read_without_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = canonical(&body, &[], &[]);
    }

    #[test]
    fn what_has_a_form_is_json(body in "[\\[\\]{}\",:01e.\\\\u+\\-\u{feff} tfn]{0,12}|[\\[{]\"a\":?.{0,3}[\\]}]") {
        if let Some(form) = form(&body) {
            let ours = serde_json::from_str::<serde_json::Value>(&form);
            prop_assert!(ours.is_ok());
            prop_assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok());
        }
    }
}

fn null() -> Document {
    Document::Scalar(Scalar::Literal("null"))
}
