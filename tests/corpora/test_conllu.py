import logging

import pytest

from mentionprobe.corpora import load_corpus
from mentionprobe.corpora.entity_brackets import parse_entity
from mentionprobe.errors import CorpusError

GLOBAL = "# global.Entity = GRP-etype-infstat-link"


def conllu(*rows: str, comments: str = "") -> str:
    """A sentence: each row is `id form misc`."""
    lines = comments.split("\n") if comments else []
    for row in rows:
        id, form, misc = row.split(" ")
        lines.append("\t".join([id, form, *"_______", misc]))
    return "\n".join(lines) + "\n\n"


def gum(*rows: str, text: str = "") -> str:
    return conllu(*rows, comments=GLOBAL + (f"\n# text = {text}" if text else ""))


def test_brackets_are_taken_apart():
    opened, alone = parse_entity("(4-abstract-new(5-person-giv)")
    assert (opened.entity, opened.opens, opened.closes) == ("4", True, False)
    assert (alone.fields, alone.opens, alone.closes) == (("5", "person", "giv"), True, True)
    assert [(b.entity, b.opens, b.closes) for b in parse_entity("4)1)")] == [
        ("4", False, True),
        ("1", False, True),
    ]


def test_nested_mentions_with_types(write, surfaces):
    sentence = gum(
        "1 the Entity=(4-person-new-coref",
        "2 mayor _",
        "3 of _",
        "4 Port Entity=(5-place-acc:inf-sgl",
        "5 Ellis Entity=5)4)|SpaceAfter=No",
        "6 , SpaceAfter=_",
        "7 it Entity=(6-time-new-cf1-1-sgl)",
    )
    [document] = load_corpus(write("a.conllu", sentence))
    assert document.text == "the mayor of Port Ellis, it"
    assert surfaces(document) == [
        ("the mayor of Port Ellis", "person"),
        ("Port Ellis", "place"),
        ("it", "time"),
    ]


def test_the_type_is_where_the_declaration_says(write, surfaces):
    rows = ["1 Ana Entity=(e1-new-person-1)"]
    declared = conllu(*rows, comments="# global.Entity = eid-infstat-etype-head")
    undeclared = conllu(*rows, comments="# sent_id = b")
    without = conllu(*rows, comments="# global.Entity = eid-head\n# sent_id = c")
    assert surfaces(load_corpus(write("a.conllu", declared))[0]) == [("Ana", "person")]
    assert surfaces(load_corpus(write("b.conllu", undeclared))[0]) == [("Ana", None)]
    assert surfaces(load_corpus(write("c.conllu", without))[0]) == [("Ana", None)]


def test_documents_are_groups_and_sent_id_is_the_id(write):
    first = conllu("1 Ana Entity=(1-p)", comments="# newdoc id = d1\n# sent_id = d1-1")
    second = conllu("1 left _", comments="# sent_id = d1-2")
    third = conllu("1 Ana Entity=(1-p)", comments="# newdoc id = d2\n# sent_id = d2-1")
    fourth = conllu("1 bare _", comments="# newdoc")
    corpus = load_corpus(write("a.conllu", first + second + third + fourth))
    assert [(d.id, d.group) for d in corpus] == [
        ("d1-1", "d1"),
        ("d1-2", "d1"),
        ("d2-1", "d2"),
        ("a-4", "a-doc-4"),
    ]


def test_a_file_without_newdoc_is_one_group(write):
    [document] = load_corpus(write("tale.conllu", conllu("1 Ana Entity=(1-p)")))
    assert (document.id, document.group) == ("tale-1", "tale")


def test_text_is_what_the_comment_says(write, surfaces):
    sentence = gum("1 Ana Entity=(1-p", "2 Ruiz Entity=1)", "3 left _", text="Ana  Ruiz\u00a0left")
    [document] = load_corpus(write("a.conllu", sentence))
    assert document.text == "Ana  Ruiz\u00a0left"
    assert surfaces(document) == [("Ana  Ruiz", "p")]


def test_a_multiword_token_is_parted_where_its_words_spell_it(write, surfaces):
    sentence = gum(
        "1-2 Ana's _",
        "1 Ana Entity=(1-object(2-person)",
        "2 's _",
        "3 boat Entity=1)|SpaceAfter=No",
        "4 . _",
    )
    [document] = load_corpus(write("a.conllu", sentence))
    assert document.text == "Ana's boat."
    assert surfaces(document) == [("Ana's boat", "object"), ("Ana", "person")]


def test_words_of_a_contraction_cover_all_of_it(write, surfaces):
    sentence = gum(
        "1 Jardin Entity=(1-place",
        "2-3 du _",
        "2 de _",
        "3 le Entity=(2-person",
        "4 roi Entity=2)1)",
        text="Jardin du roi",
    )
    [document] = load_corpus(write("a.conllu", sentence))
    assert surfaces(document) == [("Jardin du roi", "place"), ("du roi", "person")]


def test_empty_nodes_have_no_place_in_the_text(write, surfaces, caplog):
    sentence = gum(
        "1 Llegó _",
        "1.1 él Entity=(1-person)",
        "1.2 _ Entity=(2-event",
        "2 Ana Entity=2)",
    )
    with caplog.at_level(logging.WARNING):
        [document] = load_corpus(write("a.conllu", sentence))
    assert document.text == "Llegó Ana"
    assert surfaces(document) == [("Ana", "event")]
    assert "a.conllu: left out 1 mentions: they consist of empty nodes." in caplog.text


def test_discontinuous_mentions_are_left_out_and_counted(write, surfaces, caplog):
    sentence = gum(
        "1 red Entity=(e5[1/2]-object)",
        "2 and _",
        "3 white Entity=(e5[2/2]-object",
        "4 wine Entity=e5[2/2])(e6-object)",
    )
    with caplog.at_level(logging.WARNING):
        [document] = load_corpus(write("a.conllu", sentence))
    assert surfaces(document) == [("wine", "object")]
    assert "left out 1 mentions: they are discontinuous." in caplog.text


def test_mentions_across_a_sentence_end_are_left_out_and_counted(write, surfaces, caplog):
    sentences = gum("1 Ana Entity=(1-event", "2 left Entity=(2-x)") + gum("1 Then Entity=1)(1-y)")
    with caplog.at_level(logging.WARNING):
        first, second = load_corpus(write("a.conllu", sentences))
    assert surfaces(first) == [("left", "x")]
    assert surfaces(second) == [("Then", "y")]
    assert "left out 1 mentions: they cross the end of a sentence." in caplog.text


def test_one_entity_may_stand_in_itself_and_mentions_may_cross(write, surfaces):
    sentence = gum(
        "1 a Entity=(1-x(2-y", "2 b Entity=(1-z)(3-w", "3 c Entity=2)", "4 d Entity=3)1)"
    )
    [document] = load_corpus(write("a.conllu", sentence))
    assert surfaces(document) == [("a b c d", "x"), ("a b c", "y"), ("b c d", "w"), ("b", "z")]


def test_two_entities_of_one_span_and_type_are_one_mention(write, surfaces, caplog):
    with caplog.at_level(logging.WARNING):
        [document] = load_corpus(write("a.conllu", gum("1 Ana Entity=(1-p(2-p)1)")))
    assert surfaces(document) == [("Ana", "p")]
    assert "left out 1 mentions: exact duplicates." in caplog.text


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2\tleft\t_", "expected 10 columns parted by tabs, found 3"),
        ("\t".join(["two", "left", *"________"]), "found 'two'"),
        ("\t".join(["2", "left", *"_______", "Entity=1-p"]), "Entity=1-p is not a row of brackets"),
    ],
)
def test_a_malformed_row_is_named(write, line, reason):
    path = write("a.conllu", conllu("1 Ana _").strip() + "\n" + line + "\n\n")
    with pytest.raises(CorpusError) as caught:
        load_corpus(path)
    message = str(caught.value)
    assert f"{path}, line 2: " in message
    assert reason in message
    assert repr(line) in message


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (["1 Ana _", "2 leaves _"], "'leaves' does not stand at character 4"),
        (["1-3 Ana _", "1 Ana _", "2 left _"], "names words that are not there"),
        (["1 Ana _", "3 left _"], "expected words numbered from 1 on, found the numbers [1, 3]"),
    ],
)
def test_forms_that_do_not_make_the_text_are_named(write, rows, reason):
    path = write("a.conllu", conllu("1 x _") + gum(*rows, text="Ana left"))
    with pytest.raises(CorpusError) as caught:
        load_corpus(path)
    assert f"{path}, line 3: " in str(caught.value)
    assert reason in str(caught.value)
    assert "'Ana left'" in str(caught.value)
