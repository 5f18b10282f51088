"""llama.cpp's server (xllamacpp) answering one question greedily, as a peer of `morph bench busy`.

  chatting.py GGUF_FOLDER QUESTION TOKENS THREADS
"""
import glob
import json
import sys
import time

import answering
import chain


def main():
    folder, question, tokens, threads = sys.argv[1:]
    reply = answering.take_stdout()
    server = chain.load_llm(sorted(glob.glob(f"{folder}/*.gguf"))[0], int(threads))

    def once():
        start = time.perf_counter()
        answer = server.handle_chat_completions({
            "messages": [{"role": "user", "content": question}], "max_tokens": int(tokens), "temperature": 0.0})
        answer = json.loads(answer) if isinstance(answer, str) else answer
        return {"seconds": time.perf_counter() - start, "n_tokens": answer["usage"]["completion_tokens"]}

    answering.serve(reply, once)


if __name__ == "__main__":
    main()
