//! Practices as a user meets them: shown, checked, and put beside each run.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::launch::{Works, left_behind};
use super::support::{Place, until};

fn place() -> Place {
    let place = Place::this_machine();
    place.write("repos.yml", "repos:\n  harb: {slug: a/harb, practices: practices/harb}\n  other: {slug: a/other}\n");
    place.write("practices/pulls.md", "# Pulls\n\n## Size\n\nSmall.\n\n## Tests\n\nAlways.\n");
    place.write("practices/harb/pulls.md", "## Tests\n\nAt night.\n");
    place.write("practices/harb/.#pulls.md", "left by an editor");
    place
}

#[test]
fn the_merged_text_is_shown_and_with_origin_where_each_section_came_from() {
    let place = place();
    let other = place.run(&["practices", "show", "other"]).code(0);
    assert_eq!(other.stdout, "# Pulls\n\n## Size\n\nSmall.\n\n## Tests\n\nAlways.\n");
    let harb = place.run(&["practices", "show", "harb"]).code(0);
    assert_eq!(harb.stdout, "# Pulls\n\n## Size\n\nSmall.\n\n## Tests\n\nAt night.\n");
    let origin = place.run(&["practices", "show", "harb", "--origin"]).code(0);
    assert_eq!(
        origin.stdout,
        "<!-- practices/pulls.md:1 -->\n# Pulls\n\n<!-- practices/pulls.md:3 -->\n## Size\n\nSmall.\n\n\
         <!-- practices/harb/pulls.md:1, over practices/pulls.md:7 -->\n## Tests\n\nAt night.\n"
    );
    let json = place.run(&["practices", "show", "harb", "-o", "json"]).code(0).json();
    assert_eq!((&json["v"], &json["kind"], &json["repo"]), (&json!(1), &json!("practices"), &json!("harb")));
    let tests = &json["files"][0]["sections"][2];
    assert_eq!(tests["from"], json!({ "path": "practices/harb/pulls.md", "line": 1 }));
    assert_eq!(tests["over"], json!({ "path": "practices/pulls.md", "line": 7 }));
    assert_eq!(json["text"], json!(harb.stdout));
    let empty = Place::this_machine();
    empty.write("repos.yml", "repos:\n  harb: {slug: a/harb}\n");
    assert_eq!(empty.run(&["practices", "show", "harb"]).code(0).stdout, "");
}

#[test]
fn what_cannot_be_read_whole_is_an_error_with_its_place() {
    let place = place();
    let typo = place.run(&["practices", "show", "hrab"]).code(3);
    assert!(typo.stderr.contains("did you mean `harb`?"), "{}", typo.stderr);
    std::fs::write(place.path("inventory/practices/bad.md"), b"one\ntwo \xff\n").unwrap();
    let bad = place.run(&["practices", "show", "other"]).code(3);
    assert!(bad.stdout.is_empty() && bad.stderr.contains("bad.md:2:5"), "{}", bad.stderr);
    place.write("practices/bad.md", &"a line\n".repeat(40_000));
    let large = place.run(&["practices", "show", "other"]).code(3);
    assert!(large.stderr.contains("larger than 256 KiB"), "{}", large.stderr);
    place.write("practices/bad.md", "");
    std::fs::remove_dir_all(place.path("inventory/practices/harb")).unwrap();
    let gone = place.run(&["practices", "show", "harb"]).code(3);
    assert!(gone.stderr.contains("repos.yml:2:3") && gone.stderr.contains("no directory"), "{}", gone.stderr);
}

/// What all of it together may be, and more.
fn too_much(place: &Place) {
    for name in ["a.md", "b.md", "c.md", "d.md", "e.md"] {
        place.write(&format!("practices/{name}"), &"a line\n".repeat(35_000));
    }
}

#[test]
fn more_than_an_agent_can_read_is_an_error_with_the_numbers() {
    let place = place();
    too_much(&place);
    place.write("practices/harb/a.md", "");
    place.write("practices/harb/b.md", "");
    place.run(&["practices", "show", "harb"]).code(0);
    let large = place.run(&["practices", "show", "other"]).code(3);
    for part in ["the practices of `other` are 1.2MiB together, more than 1MiB", "practices/a.md:1:1", "239.3KiB"] {
        assert!(large.stderr.contains(part), "{part}: {}", large.stderr);
    }
    assert!(large.stdout.is_empty());
}

#[test]
fn a_check_of_the_inventory_tells_of_every_repos_practices_once() {
    let place = place();
    let check = || place.run(&["inventory", "check", "--offline"]);
    check().code(0);
    std::fs::write(place.path("inventory/practices/bad.md"), b"one\ntwo \xff\n").unwrap();
    std::fs::write(place.path("inventory/practices/harb/worse.md"), b"\xff\n").unwrap();
    let told = check().code(3).stderr;
    for part in ["practices/bad.md:2:5", "practices/harb/worse.md:1:1"] {
        assert_eq!(told.matches(part).count(), 1, "{part}: {told}");
    }
    assert!(told.contains("2 errors"), "{told}");
    let json = place.run(&["inventory", "check", "--offline", "-o", "json"]).code(3).json();
    let bad = json["problems"].as_array().unwrap().iter().find(|problem| problem["level"] == "error").unwrap();
    assert_eq!((&bad["line"], &bad["column"]), (&json!(2), &json!(5)), "{json}");
    assert!(bad["file"].as_str().unwrap().ends_with("/practices/bad.md"), "{json}");
    for name in ["practices/bad.md", "practices/harb/worse.md"] {
        place.write(name, "");
    }
    check().code(0);
    too_much(&place);
    let told = check().code(3).stderr;
    for part in ["the shared practices are 1.2MiB", "the practices of `harb` are 1.2MiB"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("`other` are"), "it has the shared ones: {told}");
    std::fs::remove_dir_all(place.path("inventory/practices")).unwrap();
    let told = check().code(3).stderr;
    assert!(told.contains("repos.yml:2:3") && told.contains("no directory"), "{told}");
}

/// Two repos that say different things, on this machine.
fn works() -> Works {
    let works = Works::new();
    let began = works.0.path("began").display().to_string();
    works.0.write(
        "repos.yml",
        &format!(
            "repos:\n  harb: {{slug: a/harb, practices: practices/harb, env: {{BEGAN: {began}}}}}\n  \
             shop: {{slug: a/shop, practices: practices/shop, env: {{BEGAN: {began}}}}}\n  \
             plain: {{slug: a/plain, env: {{BEGAN: {began}}}}}\n"
        ),
    );
    works
        .0
        .write("practices/pulls.md", "# Pulls\n\n## Size\n\nSmall: at most `$MAX` 'lines'.\n\n## Tests\n\nAlways.\n");
    works.0.write("practices/harb/pulls.md", "## Tests\n\nAt night.\n");
    works.0.write("practices/shop/pulls.md", "## Size\n");
    works
}

/// Launches a run of `repo`, and gives its token with the file that its environment names and what is in it.
fn launched(works: &Works, repo: &str) -> (String, Option<(String, String)>) {
    let before = works.began().len();
    let args = ["launch", "--host", "one", "--repo", repo, "--agent", "review"];
    let token = works.run(&args).code(0).stdout.trim().to_owned();
    let line = until("the run", || works.began().get(before).cloned());
    let environment = std::fs::read_to_string(format!("/proc/{}/environ", line.split(' ').nth(1).unwrap())).unwrap();
    let path = environment.split('\0').find_map(|pair| pair.strip_prefix("FACTORY_PRACTICES=")).map(str::to_owned);
    (token, path.map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())))
}

#[test]
fn each_run_has_the_practices_of_its_own_repo_beside_it() {
    let works = works();
    for repo in ["harb", "shop", "plain"] {
        let (token, given) = launched(&works, repo);
        let (path, text) = given.unwrap();
        assert_eq!(path, works.0.path("home/.factory/runs").join(&token).join("practices.md").display().to_string());
        assert_eq!(text, works.run(&["practices", "show", repo]).code(0).stdout, "{repo}");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    }
    let shown = works.run(&["launch", "--host", "one", "--repo", "harb", "--agent", "review", "--check"]).code(0);
    assert!(
        shown.stdout.contains("with practices of 70B, as `factory practices show harb` has them"),
        "{}",
        shown.stdout
    );
    let shared = works.run(&["launch", "--host", "one", "--agent", "review", "--check"]).code(0);
    assert!(shared.stdout.contains("with practices of 68B, the shared ones"), "{}", shared.stdout);
    // What is written later is for later runs.
    works.0.write("practices/pulls.md", "");
    works.0.write("practices/harb/pulls.md", "Be kind.\n");
    assert_eq!(launched(&works, "harb").1.unwrap().1, "Be kind.\n");
    std::fs::remove_dir_all(works.0.path("inventory/practices/harb")).unwrap();
    // No text, no file, no variable.
    let (token, given) = launched(&works, "plain");
    assert_eq!(given, None);
    assert!(!works.0.path("home/.factory/runs").join(token).join("practices.md").exists());
}

#[test]
fn nothing_is_launched_without_a_rule_that_it_should_have_been_given() {
    let works = works();
    let launch = |repo: &str| works.run(&["launch", "--host", "one", "--repo", repo, "--agent", "review"]);
    std::fs::write(works.0.path("inventory/practices/harb/bad.md"), b"one\ntwo \xff\n").unwrap();
    let refused = launch("harb").code(3);
    for part in ["the practices of `harb` cannot be used", "practices/harb/bad.md:2:5", "help: "] {
        assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
    std::fs::remove_dir_all(works.0.path("inventory/practices/shop")).unwrap();
    let refused = launch("shop").code(3);
    assert!(refused.stderr.contains("repos.yml:3:3"), "{}", refused.stderr);
    assert!(works.began().is_empty() && !works.0.path("home/.factory/runs").exists());
    // The others are not their matter.
    assert!(launched(&works, "plain").1.unwrap().1.contains("## Tests"));
    too_much(&works.0);
    let refused = launch("plain").code(3);
    assert!(refused.stderr.contains("1.2MiB together, more than 1MiB"), "{}", refused.stderr);
    assert_eq!(works.began().len(), 1);
}

#[test]
fn a_cut_off_launch_whose_practices_are_broken_meanwhile_never_begins() {
    let works = works();
    works.run(&["run", "-l", "one"]).code(0);
    let (task, made) = left_behind(7, false);
    works.claim(&task, &made);
    std::fs::write(works.0.path("inventory/practices/harb/bad.md"), b"one\ntwo \xff\n").unwrap();
    works.run(&["run", "-l", "one"]).code(0);
    assert!(works.began().is_empty() && works.document().claims.is_empty());
    assert_eq!(works.state(&made.token), "CANCELLED");
    let events = works.events();
    let why = "was cancelled before it began: the practices of `harb` cannot be used: ";
    assert!(events.contains(why) && events.contains("practices/harb/bad.md:2:5: not UTF-8"), "{events}");
}
