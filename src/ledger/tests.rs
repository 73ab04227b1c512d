//! How long a change goes on trying.

use std::sync::Mutex;

use super::*;

/// A store in memory in which others are faster so many times running.
struct Rivals {
    faster: Mutex<u32>,
    document: Mutex<Option<Stored>>,
}

impl Store for Rivals {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn read(&self) -> Answer<'_, Option<Stored>> {
        let stored = self.document.lock().unwrap().clone();
        Box::pin(async move { Ok(stored) })
    }

    fn swap<'a>(&'a self, _: Option<&'a Revision>, document: &'a str) -> Answer<'a, Swapped> {
        Box::pin(async move {
            let mut faster = self.faster.lock().unwrap();
            if *faster > 0 {
                *faster -= 1;
                return Ok(Swapped::Conflict);
            }
            let revision = Revision::new("1".to_owned());
            *self.document.lock().unwrap() =
                Some(Stored { revision: revision.clone(), document: document.as_bytes().to_vec() });
            Ok(Swapped::Done(revision))
        })
    }
}

#[tokio::test]
async fn who_is_overtaken_many_times_still_gets_there() {
    let ledger = Ledger::over(Rivals { faster: Mutex::new(40), document: Mutex::new(None) });
    let (document, ()) = ledger.change(|_| Ok(Change::To(Document::new("solo", 1)?, ()))).await.unwrap();
    assert_eq!(document.unwrap().lease.holder, "solo");
}
