//! What the store calls its own in a database.

/// A schema and a table; what else there is has the table's name before it.
#[derive(Clone, Debug)]
pub(super) struct Names {
    schema: String,
    table: String,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            schema: "idempotency".to_owned(),
            table: "record".to_owned(),
        }
    }
}

/// PostgreSQL cuts names off at 63 bytes; the longest end that is put to one has 9.
const LONGEST: usize = 48;

/// Whether it may be a name: what needs no quotes, and stays whole with an end put to it.
fn is_name(name: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    let mut bytes = name.bytes();
    name.len() <= LONGEST
        && bytes.next().is_some_and(is_first)
        && bytes.all(|byte| is_first(byte) || byte.is_ascii_digit())
}

impl Names {
    #[track_caller]
    pub(super) fn set_schema(&mut self, schema: String) {
        assert!(
            is_name(&schema),
            "PostgresStoreBuilder::schema wants a-z, 0-9 and _, no digit first, at most {LONGEST} characters"
        );
        self.schema = schema;
    }

    #[track_caller]
    pub(super) fn set_table(&mut self, table: String) {
        assert!(
            is_name(&table),
            "PostgresStoreBuilder::table wants a-z, 0-9 and _, no digit first, at most {LONGEST} characters"
        );
        self.table = table;
    }

    pub(super) fn schema(&self) -> &str {
        &self.schema
    }

    pub(super) fn table(&self) -> &str {
        &self.table
    }

    /// The template with the names in it.
    pub(super) fn fill(&self, template: &str) -> String {
        let of = |end: &str| format!("\"{}\".\"{}{end}\"", self.schema, self.table);
        template
            .replace("{schema}", &format!("\"{}\"", self.schema))
            .replace("{record}", &of(""))
            .replace("{sequence}", &of("_fence"))
            .replace("{index_name}", &format!("\"{}_expires\"", self.table))
            .replace("{index}", &of("_expires"))
            .replace("{claim}", &of("_claim_v1"))
            .replace("{purge}", &of("_purge_v1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_needs_no_quotes_is_a_name() {
        for name in ["record", "_r1", "idempotency_2", &"n".repeat(LONGEST)] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "",
            "Record",
            "1record",
            "re cord",
            "re\"cord",
            "re.cord",
            "é",
            &"n".repeat(LONGEST + 1),
        ] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn a_template_is_filled_with_quoted_names() {
        let mut names = Names::default();
        names.set_table("user".to_owned());

        assert_eq!(
            names.fill("{record} {claim} {schema}"),
            r#""idempotency"."user" "idempotency"."user_claim_v1" "idempotency""#
        );
    }
}
