//! Which folder a message goes into. Today by the address's detail alone: `bob+lists@…` goes into the folder
//! `lists` where bob has one, else into the inbox. Mail never makes a folder: a stranger can't fill a mailbox
//! with them.

use postroad_store::mailbox::{Folder, FolderName};

/// The folder for a message to an address with this detail.
pub fn folder(detail: Option<&str>, folders: &[Folder]) -> FolderName {
    let Some(Ok(wanted)) = detail.map(str::parse::<FolderName>) else { return FolderName::inbox() };
    let same = |folder: &&Folder| {
        !folder.no_select && folder.name.as_str().to_lowercase() == wanted.as_str().to_lowercase()
    };
    folders.iter().find(same).map_or_else(FolderName::inbox, |folder| folder.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_chooses_an_existing_folder_only() {
        let folders: Vec<Folder> = [("Lists", false), ("Old", true)]
            .into_iter()
            .map(|(name, no_select)| Folder {
                name: name.parse().unwrap(),
                subscribed: true,
                special_use: None,
                no_select,
            })
            .collect();
        for (detail, expected) in [
            (None, "INBOX"),
            (Some("lists"), "Lists"),
            (Some("none"), "INBOX"),
            (Some("old"), "INBOX"),
            (Some("../x"), "INBOX"),
        ] {
            assert_eq!(folder(detail, &folders).as_str(), expected, "{detail:?}");
        }
    }
}
