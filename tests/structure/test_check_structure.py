#!/usr/bin/env python3
"""Tests of check_structure.py: each rule finds what breaks it in a small made-up tree, and passes the sound one."""

import pathlib
import tempfile
import unittest

import check_structure as checks

SOUND = {
    "engine/include/morph/packet.h": "// Packet.\n#include <vector>\n",
    "engine/base/pool.h": "// Pool.\n#include \"morph/packet.h\"\n",
    "engine/base/pool.cpp": "// Pool.\n#include \"base/pool.h\"\n",
    "modalities/text/include/morph/text.h": "// Text.\n#include \"morph/packet.h\"\n",
    "modalities/text/stages/split.cpp": "// Split.\n#include \"base/pool.h\"\n#include \"morph/text.h\"\n",
    "modalities/text/stages/_rules.h": "// Rules.\n",
    "modalities/audio/io/wav.h": "// Wav.\n#include <sndfile.h>\n",
    "modalities/audio/stages/asr.cpp": "// ASR.\n#include \"io/wav.h\"\n#include \"morph/text.h\"\n",
    "ui/command/main.cpp": "// Main.\n#include \"morph/text.h\"\n",
    "tests/engine/test_pool.cpp": "// Test.\n#include \"base/pool.h\"\n",
}


class StructureTest(unittest.TestCase):
    def findings(self, check, changes):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in (SOUND | changes).items():
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            return list(checks.CHECKS[check](root))

    def expect(self, check, name, text, word):
        found = self.findings(check, {name: text})
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith(name), found)
        self.assertIn(word, found[0])

    def test_sound_tree_passes(self):
        for check in ("edges", "files"):
            self.assertEqual(self.findings(check, {}), [])

    def test_engine_must_not_know_a_modality(self):
        self.expect("edges", "engine/graph/plan.cpp", '// P.\n#include "morph/text.h"\n', "must not know text")

    def test_engine_floors_look_down(self):
        tree = {"engine/graph/plan.h": "// P.\n", "engine/tensor/tensor.h": "// T.\n", "engine/delegates/ov.h": "// O.\n",
                "engine/exec/run.cpp": '// R.\n#include "graph/plan.h"\n#include "tensor/tensor.h"\n#include "base/pool.h"\n'}
        self.assertEqual(self.findings("edges", tree), [])
        for name, header in (("engine/base/up.cpp", "graph/plan.h"), ("engine/graph/up.cpp", "exec/run.h"),
                             ("engine/tensor/side.cpp", "delegates/ov.h"), ("engine/exec/up.cpp", "testing/stub.h")):
            more = {"engine/exec/run.h": "// R.\n", "engine/testing/stub.h": "// S.\n", name: f'// U.\n#include "{header}"\n'}
            found = self.findings("edges", tree | more)
            self.assertEqual(len(found), 1, found)
            self.assertIn("below it only", found[0])

    def test_text_and_backbone_are_the_floor_of_the_modalities(self):
        tree = {"modalities/backbone/include/morph/trunk.h": "// T.\n", "modalities/image/include/morph/image.h": "// I.\n",
                "modalities/audio/stages/talk.cpp": '// T.\n#include "morph/trunk.h"\n'}
        self.assertEqual(self.findings("edges", tree), [])
        self.assertIn("must not know image", self.findings(
            "edges", tree | {"modalities/audio/stages/see.cpp": '// S.\n#include "morph/image.h"\n'})[0])

    def test_public_header_without_internals(self):
        self.expect("edges", "engine/include/morph/run.h", '// R.\n#include "base/pool.h"\n', "public headers only")

    def test_public_header_without_third_party(self):
        self.expect("edges", "engine/include/morph/run.h", "// R.\n#include <fmt/format.h>\n", "third-party")

    def test_modality_must_not_see_inside_another(self):
        text = '// S.\n#include "../../text/stages/_rules.h"\n'
        self.expect("edges", "modalities/audio/stages/say.cpp", text, "nothing else")

    def test_ui_sees_public_headers_only(self):
        self.expect("edges", "ui/command/run.cpp", '// R.\n#include "base/pool.h"\n', "public headers only")

    def test_media_library_in_its_place(self):
        self.expect("edges", "modalities/audio/stages/dec.cpp", "// D.\n#include <libavformat/avformat.h>\n", "confined")

    def test_image_arithmetic_in_images_only(self):
        sound = {"modalities/image/stages/warp.cpp": "// W.\n#include <opencv2/imgproc.hpp>\n"}
        self.assertEqual(self.findings("edges", sound), [])
        self.expect("edges", "modalities/audio/stages/warp.cpp", "// W.\n#include <opencv2/imgproc.hpp>\n", "confined")
        self.expect("edges", "modalities/image/stages/dec.cpp", "// D.\n#include <opencv2/imgcodecs.hpp>\n", "confined")

    def test_libllama_in_the_backbone(self):
        self.expect("edges", "modalities/text/stages/tok.cpp", "// T.\n#include <llama.h>\n", "confined")

    def test_catch_all_name(self):
        self.expect("files", "engine/base/string_utils.h", "// U.\n", "utils")

    def test_camel_case_name(self):
        self.expect("files", "engine/base/ThreadPool.h", "// T.\n", "snake_case")

    def test_opening_comment(self):
        self.expect("files", "engine/base/ids.h", "#pragma once\n", "opening comment")

    def test_long_file(self):
        self.expect("files", "engine/base/ids.h", "// I.\n" * 301, "301 lines")
        self.assertEqual(self.findings("files", {"engine/base/ids.h": "// Long: a table.\n" * 301}), [])

    def test_long_function(self):
        body = "// F.\nint f() {\n" + "  g();\n" * 120 + "}\n"
        self.expect("files", "engine/base/f.cpp", body, "122 lines")

    def test_format(self):
        if checks.shutil.which("clang-format") is None:
            self.skipTest("clang-format is not installed")
        style = {".clang-format": "BasedOnStyle: Google\n"}
        self.assertEqual(self.findings("format", style), [])
        found = self.findings("format", style | {"engine/base/f.cpp": "// F.\nint  f( );\n"})
        self.assertEqual(len(found), 1, found)
        self.assertIn("f.cpp:2", found[0])


if __name__ == "__main__":
    unittest.main()
