#!/usr/bin/env python3
"""Makes the goldens of the tokenizer: four small vocabularies and the ids of many texts, by the `tokenizers` library.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install tokenizers jinja2
    /tmp/venv/bin/python tests/golden/make_tokenizer_golden.py [FOLDER WITH THE KNOWN MODELS' GGUF FILES]

Writes tokenizer_NAME/tokenizer.json and tokenizer_cases.json beside itself.  Given the models' folder, the cases hold
the ids under their vocabularies too, else those that are there are kept.  Using the goldens needs none of this.
"""
import json
import mmap
import os
import random
import struct
import sys
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
USER_DEFINED = ["<tool_call>", "<tool_call>>"]  # one is the beginning of the other: the longest counts

QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")


def isolated(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def byte_level(use_regex):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


# name: normaliser, pre-tokeniser, ignore_merges, and whether a beginning is put before each text
KINDS = {
    "smollm": (None, [pre_tokenizers.Digits(individual_digits=True), byte_level(True)], False, False),
    "qwen2": (normalizers.NFC(), [isolated(QWEN2), byte_level(False)], False, False),
    "gpt-2": (None, [byte_level(True)], False, False),
    "llama-bpe": (None, [isolated(LLAMA3), byte_level(False)], True, True),
}

PROSE = """
The kettle had been singing for some time before anybody thought of taking it off. It's the sort of thing that
happens in a house where everyone reads: one waits for the other, and they'll both wait till the water's gone. I'd have
done it myself, but I'm told that we've agreed you're to do it; don't ask me when. In 1984 there were 12 of them, in 2024
there are 365, and 1000 more in 10000 days. "Who's there?" asked the caf\u00e9's owner. "Nobody," said the na\u00efve guest.
for (int i = 0; i < n; i++) { sum += x[i] * y[i]; }
    return sum / (double)n;\t// mean
Le coeur a ses raisons. \u00dcber allen Gipfeln ist Ruh. \u3053\u3093\u306b\u3061\u306f\u4e16\u754c\u3002\u4f60\u597d\uff0c\u4e16\u754c\uff01 \u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \U0001F600\U0001F389
"""

TEXTS = [
    "", " ", "  ", "\n", "\t", "a", "Hello world", " Hello world", "Hello  world ", "Hello   world   ",
    # digits
    "1", "12", "123", "1234", "12345678901234567890", "a1b22c333", "a  1", "a   12  b", "3.14159", "1,234,567.89",
    "x\u00b2+\u00bd\u2167", "\u0661\u0662\u0663 \u0967\u0968\u0969", "2024-11-22T11:27:29Z", "0x1F 1e-5 -7",
    "\u00b9\u00b2\u00b3", "\u2460\u2461 \u3007\u4e00\u4e8c",
    # white space
    "a b  c   d    e     f", "a\tb\t\tc", "   leading", "trailing   ", "\u00a0nbsp\u00a0\u00a0x", "a\u2003b\u3000c\u2028d\u2029e",
    "a\u180eb", "\u180e x", "a\u0085b \u0085 c", "a\u200bb\ufeffc", "a\x1cb\x1dc\x1fd", "\x0b\x0c x", "x \u00a0 y", " \u3000",
    # newlines
    "a\nb", "a\r\nb", "a\rb", "a\n\n\nb", "a \n b", "a \n\n  b\n", "\r\n\r\n", "a\n \n\t\n b", "end.\n\nNext", "!\n", "!?\r\n\r\nx",
    "  \n  \n  x", "a\u2028\nb", "\n ", "\n\n ", " \n", "x  \r\n\r y",
    # contractions
    "I'm you're we've they'll it's he'd don't", "I'M YOU'RE WE'VE THEY'LL IT'S HE'D DON'T", "'s't're've'm'll'd", "'S'T'RE'VE'M'LL'D",
    "''s", "'sound", "rock'n'roll", "a'\u017fb", "'\u017f", "'\u017ft '\u212a", "it\u2019s", "'lL 'Re 'vE", "o'clock 'tis", "'\u0455",
    # emoji
    "\U0001F600", "\U0001F600\U0001F601\U0001F602", "hi\U0001F44B\U0001F3FDthere", "\U0001F468\u200d\U0001F469\u200d\U0001F467\u200d\U0001F466", "\u2764\ufe0f!",
    "\U0001F1E9\U0001F1EA", "\U0001F3F4\U000E0067\U000E0062\U000E0065\U000E006E\U000E0067\U000E007F", "a \U0001F980 b", "1\ufe0f\u20e3",
    # CJK, Hangul
    "\u4f60\u597d\uff0c\u4e16\u754c\uff01", "\u3053\u3093\u306b\u3061\u306f\u3001\u4e16\u754c\u3002", "\uc548\ub155\ud558\uc138\uc694 \uc138\uacc4", "\u1112\u1161\u11ab\u1100\u1173\u11af", "\u6f22\u5b57\u304b\u306a\u30ab\u30ca123abc",
    "\U00020000\U0002a6d6", "\uff11\uff12\uff13\uff21\uff22", "\u300c\u5f15\u7528\u300d\u2026\u2014\u2014", "\uac00\u11a8", "\ufa10\uf900\U0002f800",
    # combining marks: composed, decomposed, out of order, excluded from composition
    "caf\u00e9 cafe\u0301", "A\u030a \u212b \u00c5", "q\u0307\u0323 q\u0323\u0307", "\u1e9b\u0323", "\u0958 \u0915\u093c", "n\u0303\u0303\u0303", "\u0301abc", " \u0301x",
    "1\u0301 !\u0301", "\u0e17\u0e35\u0e48\u0e19\u0e35\u0e48", "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e", "\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd", "\u0627\u0644\u0633\u0644\u0627\u0645 \u0639\u0644\u064a\u0643\u0645", "a\u0315\u0300\u05ae\u0062",
    "\u2126 \u2000 \u0340\u0341 \u037e \u0387 \u1fee", "\ufb01 \ufb06 \u00df \u1e9e \u0130\u0131", "\U0001d15e \U0001d1bf", "o\u0308\u0304 \u022b o\u0304\u0308",
    # words
    "Donaudampfschifffahrtsgesellschaftskapit\u00e4n", "supercalifragilisticexpialidocious", "a" * 300, "ab" * 200 + "c", "=" * 80 + "\n" + "-" * 80,
    "the" * 100, "\u041f\u0440\u0438\u0432\u0435\u0442" * 20, " " * 100 + "x", "\n" * 50, " \n" * 20 + "y", "_snake_case_ camelCase PascalCase kebab-case",
    # code, punctuation
    "for (int i = 0; i < n; i++) {\n    sum += x[i];\n}\n", "#include <stdio.h>\n\tprintf(\"%d\\n\", 3);", "!!!???...;;;", " !", "a!b?c", "$100 + 5% = \u20ac105",
    "https://example.org/a?b=c&d=%20#e", "<div class=\"x\">&amp;</div>", "\\begin{equation} x^2 \\end{equation}", "C:\\Users\\x", "a\x00b", "\x01\x02\x7f",
    # added tokens
    "<|im_start|>user\nHi<|im_end|>\n", "<|im_start|><|im_start|>", "x<|endoftext|>y", " <|im_end|> ", "<|im_start", "<|im_end|", "<|im_<|im_end|>",
    "<tool_call>{}</tool_call>", "a<tool_call>b", "<tool_call>>>", "<tool_call><tool_call>>", "<<tool_call>", "<|im_start|>a  <tool_call>  1",
    "e<|im_end|>\u0301", "'<|im_end|>s",
]

# One character of each kind that a pre-tokeniser tells apart; the random texts are made of these.
POOL = list("aAzZ09 \n\r\t.,!?'\"-_<|>/\\sStTmMdDlLrReEvV") + list(
    "\u00e9\u00df\u0130\u017f\u212a\u03a9\u0436\u05d0\u0628\u0915\u0e01\u4e2d\u6587\u3042\uac00\u1100\u1161\u11a8\u0301\u0308\u0323\u093c\u200d\u200b\ufe0f\u00a0\u2003\u3000\u2028\u0085\u180e\u00b2\u00bd\u0663\u2167\u3007\u20ac\u2014\u2026\ufb01\u00ad") + [
    "\U0001F600", "\U0001F44D\U0001F3FD", "\U00020000", "'s", "'ll", "  ", "   ", "\r\n", "the", " and", "12", "<|im_end|>", "<tool_call>"]


def random_texts(n):
    rng = random.Random(20250601)
    texts = ["".join(rng.choice(POOL) for _ in range(rng.randint(2, 40))) for _ in range(n)]
    assert all(unicodedata.category(c) != "Cn" for t in texts for c in t)  # Unicode 14 knows all of them
    return texts


def finish(tok, kind, control, user_defined):
    normalizer, steps, _, begins = KINDS[kind]
    if normalizer:
        tok.normalizer = normalizer
    tok.pre_tokenizer = steps[0] if len(steps) == 1 else pre_tokenizers.Sequence(steps)
    tok.decoder = decoders.ByteLevel()
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in control])
    tok.add_tokens([AddedToken(t, special=False, normalized=False) for t in user_defined])
    if begins:
        tok.post_processor = processors.Sequence([
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single="<|endoftext|> $A", pair="<|endoftext|> $A $B",
                                          special_tokens=[("<|endoftext|>", tok.token_to_id("<|endoftext|>"))])])
    return tok


def train(kind):
    tok = Tokenizer(models.BPE())
    normalizer, steps, _, _ = KINDS[kind]
    if normalizer:
        tok.normalizer = normalizer
    tok.pre_tokenizer = pre_tokenizers.Sequence(steps)
    size = 256 + len(CONTROL) + 300
    tok.train_from_iterator([PROSE], trainers.BpeTrainer(
        vocab_size=size, special_tokens=CONTROL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    state = json.loads(tok.to_str())["model"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in state["merges"]]
    vocab = state["vocab"]
    if KINDS[kind][2]:  # a word that no merge makes: only ignore_merges finds it
        vocab["kettles"] = len(vocab)
    return finish(Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=KINDS[kind][2])), kind, CONTROL, USER_DEFINED)


def read_gguf(path):
    """The metadata of a GGUF file, as a dict."""
    scalar = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
    with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as m:
        at = 8

        def take(code):
            nonlocal at
            value = struct.unpack_from("<" + code, m, at)[0]
            at += struct.calcsize("<" + code)
            return value

        def value_of(kind):
            nonlocal at
            if kind == 8:
                n = take("Q")
                at += n
                return m[at - n:at].decode()
            if kind == 9:
                inner, n = take("I"), take("Q")
                return [value_of(inner) for _ in range(n)]
            return take(scalar[kind])

        take("Q")
        meta = {}
        for _ in range(take("Q")):
            key = value_of(8)
            meta[key] = value_of(take("I"))
        return meta


def from_gguf(path):
    meta = read_gguf(path)
    tokens, types = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.token_type"]
    vocab = {t: i for i, t in enumerate(tokens) if types[i] != 5}
    merges = [tuple(m.split(" ")) for m in meta["tokenizer.ggml.merges"]]
    of_type = lambda kind: [t for i, t in enumerate(tokens) if types[i] == kind]
    tok = finish(Tokenizer(models.BPE(vocab=vocab, merges=merges)), meta["tokenizer.ggml.pre"], of_type(3), of_type(4))
    return tok, meta["tokenizer.chat_template"]


def byte_characters():
    own = [b for b in range(256) if 0x21 <= b <= 0x7E or 0xA1 <= b <= 0xAC or b >= 0xAE]
    others = [b for b in range(256) if b not in own]
    return {**{b: chr(b) for b in own}, **{b: chr(256 + i) for i, b in enumerate(others)}}


def has_all_bytes(tok, text):
    """The library drops a byte that the vocabulary has no token for; a text with such a byte has no ids."""
    characters = byte_characters()
    return all(tok.token_to_id(characters[b]) is not None for b in set(text.encode()))


def encode(tok, text, control):
    tok.encode_special_tokens = not control  # True: a marker in the text is spelled out
    return tok.encode(text, add_special_tokens=False).ids


CHATS = [
    [("user", "Hi")],
    [("system", "Be brief."), ("user", "Hi  there\n"), ("assistant", "Yes?"), ("user", "2 + 2 = ?")],
    [("user", " \u4f60\u597d"), ("assistant", "cafe\u0301\n"), ("system", "Now in French."), ("user", "")],
]


def render(tok, template, messages, with_reply):
    import jinja2
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    text = environment.from_string(template).render(
        messages=[{"role": r, "content": c} for r, c in messages], tools=None, add_generation_prompt=with_reply)
    return encode(tok, text, True)


def main():
    path = os.path.join(HERE, "tokenizer_cases.json")
    texts = TEXTS + random_texts(120)
    cases = {"made_by": "tests/golden/make_tokenizer_golden.py", "texts": texts, "ids": {}, "chats": [], "chat_ids": {}}
    toks, kept = {}, {}
    for kind in KINDS:
        toks[kind] = train(kind)
        os.makedirs(os.path.join(HERE, "tokenizer_" + kind), exist_ok=True)
        with open(os.path.join(HERE, "tokenizer_" + kind, "tokenizer.json"), "w") as f:
            json.dump(json.loads(toks[kind].to_str()), f, separators=(",", ":"))
            f.write("\n")
    cases["chats"] = CHATS
    if len(sys.argv) > 1:
        for name in ["smollm2-135m", "qwen2.5-coder-0.5b"]:
            toks[name], template = from_gguf(os.path.join(sys.argv[1], name + ".gguf"))
            cases["chat_ids"][name] = [render(toks[name], template, c, reply) for c in CHATS for reply in (True, False)]
    elif os.path.exists(path):
        with open(path) as f:
            old = json.load(f)
        if old["texts"] == texts and old["chats"] == json.loads(json.dumps(CHATS)):
            kept = {k: v for k, v in old["ids"].items() if k not in KINDS}
            cases["chat_ids"] = old["chat_ids"]
    for name, tok in toks.items():
        # two lists for each text: markers as control tokens, markers as text ([] where that is the same); null: no ids
        cases["ids"][name] = []
        for text in texts:
            a, b = encode(tok, text, True), encode(tok, text, False)
            cases["ids"][name].append([a, [] if a == b else b] if has_all_bytes(tok, text) else None)
    cases["ids"].update(kept)
    with open(path, "w") as f:
        f.write(json.dumps(cases, separators=(",", ":")).replace("]],[[", "]],\n[[") + "\n")


if __name__ == "__main__":
    main()
