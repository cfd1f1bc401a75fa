import logging
from pathlib import Path

import pytest

from mentionprobe.corpora import load_corpus
from mentionprobe.errors import CorpusError, UnknownNameError

COLUMNS = "Ana\tB-person\nleft\tO\n"


@pytest.mark.parametrize(
    ("files", "split", "chosen"),
    [
        (["train.txt", "test.txt"], "test", "test.txt"),
        (["train.txt", "test.txt"], "TEST", "test.txt"),
        (["train.tsv", "devel.tsv"], "dev", "devel.tsv"),
        (["train.tsv", "validation.tsv"], "dev", "validation.tsv"),
        (["val.tsv", "dev.tsv"], "dev", "dev.tsv"),
        (["val.tsv", "dev.tsv"], "val", "val.tsv"),
        (["dev.tsv", "test.tsv"], "validation", "dev.tsv"),
        (["wnut17train.conll", "emerging.dev.conll"], "train", "wnut17train.conll"),
        (["emerging.dev.conll", "emerging.test.annotated"], "test", "emerging.test.annotated"),
        (["eng.train", "eng.testa"], "train", "eng.train"),
        (["gum.test.tsv", "gum.test2.tsv"], "test", "gum.test.tsv"),
        (["gum.test.tsv", "gum.test2.tsv"], "test2", "gum.test2.tsv"),
        (["test.tsv", "README.md", "LICENSE", "NOTE.test.txt"], "test", "test.tsv"),
    ],
)
def test_the_file_of_a_split_is_found(write, tmp_path, files, split, chosen):
    for name in files:
        write(f"ai/{name}", COLUMNS)
    corpus = load_corpus(tmp_path / "ai", split=split)
    assert (corpus.name, corpus.split) == ("ai", split)
    assert corpus[0].id == f"{Path(chosen).stem}-1"


def test_a_subfolder_is_a_split_with_all_its_data_files(write, tmp_path):
    for name in ("test/b.tsv", "test/a.tsv", "test/README.md", "test/.hidden", "train/c.tsv"):
        write(f"gum/{name}", COLUMNS)
    corpus = load_corpus(tmp_path / "gum", split="test")
    assert str(corpus) == "gum/test"
    assert [document.id for document in corpus] == ["a-1", "b-1"]


def test_the_path_of_a_split_gives_the_same_corpus(write, tmp_path):
    path = write("ai/test.txt", COLUMNS)
    assert load_corpus(path) == load_corpus(str(tmp_path / "ai"), split="test")
    write("gum/dev/a.tsv", COLUMNS)
    assert load_corpus(tmp_path / "gum" / "dev") == load_corpus(tmp_path / "gum", split="dev")


def test_any_other_path_bears_its_own_name(write, tmp_path):
    path = write("notes/ferry.tsv", COLUMNS)
    assert str(load_corpus(path)) == "ferry"
    assert str(load_corpus(tmp_path / "notes")) == "notes"


def test_a_relative_path_has_a_name_too(write, tmp_path, monkeypatch):
    write("ai/test.txt", COLUMNS)
    monkeypatch.chdir(tmp_path / "ai")
    assert str(load_corpus("test.txt")) == "ai/test"
    assert str(load_corpus(".", split="test")) == "ai/test"


def test_a_missing_split_lists_what_is_there(write, tmp_path):
    write("ai/train.txt", COLUMNS)
    write("ai/notes.md", "")
    with pytest.raises(CorpusError, match=r"ai has no split 'test'; it holds: train\.txt\."):
        load_corpus(tmp_path / "ai", split="test")


def test_an_ambiguous_split_lists_the_choices(write, tmp_path):
    for name in ("eng.testa", "a.test.tsv", "b.test.tsv"):
        write(f"eng/{name}", COLUMNS)
    with pytest.raises(CorpusError, match=r"'test': a\.test\.tsv, b\.test\.tsv\. Give the path"):
        load_corpus(tmp_path / "eng", split="test")


def test_a_directory_with_splits_asks_for_one(write, tmp_path):
    write("ai/train.txt", COLUMNS)
    write("ai/test.txt", COLUMNS)
    with pytest.raises(CorpusError, match=r"has splits \(train\.txt, test\.txt\); choose one"):
        load_corpus(tmp_path / "ai")


def test_a_directory_without_files_lists_what_is_there(write, tmp_path):
    write("crossner/ai/train.txt", COLUMNS)
    with pytest.raises(CorpusError, match="expected annotated files, found: ai"):
        load_corpus(tmp_path / "crossner")


def test_a_file_has_no_splits(write):
    path = write("ai/test.txt", COLUMNS)
    with pytest.raises(CorpusError, match="is a file and has no splits; leave out split='dev'"):
        load_corpus(path, split="dev")


def test_an_unknown_name_says_what_was_looked_for():
    with pytest.raises(UnknownNameError) as caught:
        load_corpus("demmo", split="train")
    message = str(caught.value)
    assert "'demmo' is neither in the catalogue (demo) nor the path of a file" in message
    assert "Did you mean 'demo'?" in message


def test_a_path_is_no_catalogue_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownNameError):
        load_corpus(Path("demo"), split="train")


def test_an_option_the_format_does_not_have_is_refused(write):
    with pytest.raises(TypeError, match="separator"):
        load_corpus(write("a.txt", "[Ana] left."), separator=",")


def test_a_corpus_without_mentions_is_read_with_a_warning(write, caplog):
    with caplog.at_level(logging.WARNING):
        load_corpus(write("a.tsv", "Ana\tO\nleft\tO\n"))
    assert "a: none of the 1 documents has a mention." in caplog.text


def test_one_bad_file_of_many_is_named(write, tmp_path):
    write("gum/a.tsv", COLUMNS)
    bad = write("gum/b.tsv", COLUMNS + "Bern\n")
    with pytest.raises(CorpusError) as caught:
        load_corpus(tmp_path / "gum")
    assert f"{bad}, line 3: " in str(caught.value)
