//! The table by which MDP 3.0 is decoded says what the schema beside it says, no more and no less.
//!
//! It is stored, and made anew here, rather than made by each build: so a build needs no reader of
//! XML, and a change of the table is seen where it is reviewed. `UPDATE_GOLDEN=1` rewrites it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

/// A tag's name and attributes.
struct Tag<'a> {
    name: &'a str,
    attributes: BTreeMap<&'a str, &'a str>,
    /// What stands behind it.
    text: &'a str,
}

impl<'a> Tag<'a> {
    fn get(&self, attribute: &str) -> &'a str {
        let found = self.attributes.get(attribute);
        found.unwrap_or_else(|| panic!("<{}> without {attribute}", self.name))
    }

    fn number(&self, attribute: &str) -> usize {
        let text = self.get(attribute);
        text.parse()
            .unwrap_or_else(|_| panic!("{attribute}=\"{text}\""))
    }
}

/// The tags of a document without comments, CDATA or entities.
fn tags(text: &str) -> Vec<Tag<'_>> {
    let mut tags = Vec::new();
    for piece in text.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a tag ends");
        if tag.starts_with(['?', '!']) {
            continue;
        }
        let (name, rest) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
        let mut parts = rest.trim_end_matches('/').split('"');
        let mut attributes = BTreeMap::new();
        while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
            attributes.insert(key.trim().trim_end_matches('='), value);
        }
        let name = name.trim_end_matches('/');
        tags.push(Tag {
            name,
            attributes,
            text,
        });
    }
    tags
}

/// `MDEntryPx` as `md_entry_px`.
fn snake(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (index, letter) in letters.iter().enumerate() {
        let starts = letter.is_uppercase()
            && index > 0
            && (letters[index - 1].is_lowercase()
                || letters
                    .get(index + 1)
                    .is_some_and(|next| next.is_lowercase())
                    && letters[index - 1].is_uppercase());
        if starts {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

/// How long a type is, and of a price what one unit is in 1e-9.
type Types = BTreeMap<String, (usize, Option<i64>)>;

fn types(tags: &[Tag<'_>]) -> Types {
    let mut types: Types = [
        ("char", 1),
        ("int8", 1),
        ("uint8", 1),
        ("int16", 2),
        ("uint16", 2),
        ("int32", 4),
        ("uint32", 4),
        ("int64", 8),
        ("uint64", 8),
    ]
    .map(|(name, len)| (name.to_string(), (len, None)))
    .into();
    let mut composite = None;
    for tag in tags {
        match tag.name {
            "composite" => composite = Some(tag.get("name").to_string()),
            "/composite" => composite = None,
            "type" => {
                let each = types[tag.get("primitiveType")].0;
                let many = tag
                    .attributes
                    .get("length")
                    .map_or(1, |n| n.parse().unwrap());
                match &composite {
                    None => {
                        types.insert(tag.get("name").to_string(), (each * many, None));
                    }
                    Some(of) if tag.get("name") == "mantissa" => {
                        types.insert(of.clone(), (each, None));
                    }
                    Some(of) if tag.get("name") == "exponent" => {
                        let exponent: i32 = tag.text.trim().parse().unwrap();
                        let unit = 10i64.pow(u32::try_from(9 + exponent).unwrap());
                        types.get_mut(of).unwrap().1 = Some(unit);
                    }
                    Some(_) => {}
                }
            }
            _ => {}
        }
    }
    types
}

/// One block: its fields with where they are and since when, and what a price in it is.
#[derive(Default)]
struct Block {
    fields: Vec<(String, usize, usize)>,
    unit: Option<i64>,
}

impl Block {
    fn add(&mut self, tag: &Tag<'_>, types: &Types, len: usize) {
        let name = snake(tag.get("name"));
        let at = tag.number("offset");
        let (bytes, unit) = types[tag.get("type")];
        assert!(at + bytes <= len, "{name} ends behind its block");
        let since = tag.attributes.get("sinceVersion");
        let since = since.map_or(0, |version| version.parse().unwrap());
        self.fields.push((name, at, since));
        self.unit = self.unit.or(unit);
    }

    fn text(&self) -> String {
        let mut text = "Fields { ".to_string();
        for (name, offset, since) in &self.fields {
            let _ = write!(text, "{name}: At {{ offset: {offset}, since: {since} }}, ");
        }
        if let Some(unit) = self.unit {
            let _ = write!(text, "price_unit: {unit}, ");
        }
        text + "..NONE }"
    }
}

struct Template {
    name: String,
    id: usize,
    block: Block,
    groups: Vec<(String, bool, Block)>,
}

fn templates(tags: &[Tag<'_>]) -> Vec<Template> {
    let types = types(tags);
    let mut templates: Vec<Template> = Vec::new();
    let (mut len, mut is_in_group) = (0, false);
    for tag in tags {
        match tag.name {
            "sbe:message" => {
                templates.push(Template {
                    name: tag.get("name").to_string(),
                    id: tag.number("id"),
                    block: Block::default(),
                    groups: Vec::new(),
                });
                len = tag.number("blockLength");
            }
            "group" => {
                let template = templates.last_mut().unwrap();
                let is_wide = match tag.get("dimensionType") {
                    "groupSize" => false,
                    "groupSize8Byte" => true,
                    other => panic!("dimension {other}"),
                };
                let name = tag.get("name").to_string();
                template.groups.push((name, is_wide, Block::default()));
                (len, is_in_group) = (tag.number("blockLength"), true);
            }
            "/group" => is_in_group = false,
            "field" => {
                let template = templates.last_mut().unwrap();
                let block = match template.groups.last_mut() {
                    Some((_, _, block)) if is_in_group => block,
                    _ => &mut template.block,
                };
                block.add(tag, &types, len);
            }
            _ => {}
        }
    }
    templates.sort_by_key(|template| template.id);
    templates
}

fn table(schema: &str) -> String {
    let templates = templates(&tags(schema));
    let mut names = BTreeSet::new();
    for template in &templates {
        let blocks = template.groups.iter().map(|(_, _, block)| block);
        for block in blocks.chain([&template.block]) {
            names.extend(block.fields.iter().map(|(name, ..)| name.clone()));
        }
    }
    let mut out = "//! Where the fields of MDP 3.0 are: made from `mdp3.xml` by `feed/tests/mdp3_schema.rs`.\n\n\
                   /// Where in its block a field starts, and since which version of the schema.\n\
                   #[derive(Clone, Copy, Debug)]\n\
                   pub(super) struct At {\n    pub offset: u16,\n    pub since: u8,\n}\n\n\
                   /// The fields of a block. One that it lacks is behind the end of any.\n\
                   #[rustfmt::skip]\n#[derive(Clone, Copy, Debug)]\n\
                   pub(super) struct Fields {\n"
        .to_string();
    for name in &names {
        let _ = writeln!(out, "    pub {name}: At,");
    }
    out += "    /// What one unit of a price is, in 1e-9.\n    pub price_unit: i64,\n}\n\n";
    out += "/// A repeating group; a wide one has eight bytes before its entries, another three.\n\
            #[derive(Clone, Copy, Debug)]\n\
            pub(super) struct Group {\n    pub is_wide: bool,\n    pub fields: Fields,\n}\n\n\
            /// One kind of message.\n#[derive(Clone, Copy, Debug)]\n\
            pub(super) struct Template {\n    pub id: u16,\n    pub block: Fields,\n    \
            pub groups: &'static [Group],\n}\n\n\
            const NOWHERE: At = At {\n    offset: u16::MAX,\n    since: 0,\n};\n\n\
            #[rustfmt::skip]\nconst NONE: Fields = Fields {\n";
    for name in &names {
        let _ = writeln!(out, "    {name}: NOWHERE,");
    }
    out += "    price_unit: 1,\n};\n\n";
    let _ = writeln!(
        out,
        "/// By number.\n#[rustfmt::skip]\npub(super) static TEMPLATES: [Template; {}] = [",
        templates.len()
    );
    for template in &templates {
        let block = template.block.text();
        let _ = writeln!(out, "    // {}", template.name);
        let _ = writeln!(
            out,
            "    Template {{ id: {}, block: {block}, groups: &[",
            template.id
        );
        for (name, is_wide, block) in &template.groups {
            let fields = block.text();
            let _ = writeln!(out, "        // {name}");
            let _ = writeln!(
                out,
                "        Group {{ is_wide: {is_wide}, fields: {fields} }},"
            );
        }
        out += "    ] },\n";
    }
    out + "];\n"
}

#[test]
fn the_table_is_what_the_schema_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/protocol");
    let schema = std::fs::read_to_string(folder.join("mdp3.xml")).unwrap();
    let path = folder.join("mdp3_table.rs");
    let made = table(&schema);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == made,
        "mdp3_table.rs is not what mdp3.xml says: UPDATE_GOLDEN=1 rewrites it"
    );
}
