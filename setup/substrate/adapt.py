"""Adapts the unpacked source of the substrate: adapt.py SOURCE_FOLDER HEADERS_FOLDER.

Each change names the file, a place in it and what stands there afterwards; a place that is not found exactly as often as
expected ends the build, so that a newer source cannot lose a change silently. `adapt.py --published SOURCE_FOLDER` puts
back the published form of what is compiled for the benchmark's peer.
"""
import pathlib
import shutil
import sys

CPU = "ggml/src/ggml-cpu/ggml-cpu.c"
RPC = "ggml/src/ggml-rpc/ggml-rpc.cpp"
TRANSPORT = "ggml/src/ggml-rpc/transport.cpp"

# (file, from this text, to this text [both included], times, what stands there instead; "\0" is the place itself)
CHANGES = [
    # Threads that wait sleep.
    (CPU, "void ggml_barrier(struct", "", 1, '#include "patient_wait.h"\n\n\0'),
    (CPU, "atomic_int GGML_CACHE_ALIGN n_barrier_passed;", "", 1, "\0\n    atomic_int n_sleeping; // at the barrier"),
    (CPU, "threadpool->n_barrier_passed = 0;", "", 1, "\0\n        threadpool->n_sleeping = 0;"),
    (CPU, "atomic_fetch_add_explicit(&tp->n_barrier_passed, 1, memory_order_seq_cst);", "", 1,
     "\0\n        patient_wake(&tp->n_barrier_passed, &tp->n_sleeping);"),
    (CPU, "while (atomic_load_explicit(&tp->n_barrier_passed", "}", 1,
     "patient_wait(&tp->n_barrier_passed, n_passed, &tp->n_sleeping, ggml_thread_cpu_relax);"),
    (CPU, "1024UL * 128", "", 1, "MORPH_PATIENT_POLLS"),
    # A lost server is an answer.
    (RPC, '#include "transport.h"', "", 1, '\0\n#include "lost_server.h"'),
    (RPC, "    socket_ptr       sock;\n    std::atomic_bool running;", "", 1,
     "\0\n    std::atomic_bool lost{false};\n    std::string      endpoint;\n    void lose();\n    bool connect();\n\npublic:\n"
     "    bool is_lost() const { return lost; }\n\nprivate:"),
    (RPC, "void rpc_dispatcher::start(const std::string & endpoint) {", "LOG_DBG(\"[%s] connected to %s\\n\", __func__, "
     "endpoint.c_str());", 1,
     "void rpc_dispatcher::lose() {\n    if (!lost.exchange(true)) {\n"
     "        GGML_LOG_WARN(\"the server %s of a remote device is gone or does not answer\\n\", endpoint.c_str());\n"
     "        morph_lost::add(endpoint);\n    }\n}\n\n"
     "bool rpc_dispatcher::connect() {\n    std::string host;\n    int port = 0;\n"
     "    if (!parse_endpoint(endpoint, host, port) || !rpc_transport_init()) {\n        return false;\n    }\n"
     "    sock = socket_t::connect(host.c_str(), port);\n    return sock != nullptr && negotiate_hello(sock);\n}\n\n"
     "void rpc_dispatcher::start(const std::string & where) {\n    endpoint = where;\n"
     "    if (!connect()) {\n        lose();\n    }"),
    (RPC, "        if (msg_ptr->cmd != RPC_CMD_NONE) {", "        msg_ptr->completion.set_value();", 1,
     "        if (msg_ptr->cmd != RPC_CMD_NONE) {\n"
     "            bool done = false;\n"
     "            if (!lost) {\n"
     "                done = msg_ptr->output\n"
     "                    ? send_rpc_cmd(sock, msg_ptr->cmd, msg_ptr->input.get(), msg_ptr->input_size, msg_ptr->output,"
     " msg_ptr->output_size)\n"
     "                    : send_rpc_cmd(sock, msg_ptr->cmd, msg_ptr->input.get(), msg_ptr->input_size);\n"
     "                if (!done) {\n                    lose();\n                }\n            }\n"
     "            if (!done) {\n"
     "                morph_lost::answer(msg_ptr->output, msg_ptr->output_size, msg_ptr->cmd == RPC_CMD_GET_ALIGNMENT ||"
     " msg_ptr->cmd == RPC_CMD_BUFFER_GET_BASE);\n"
     "            }\n        }\n        msg_ptr->completion.set_value();"),
    (RPC, "    RPC_STATUS_ASSERT(status);", "", 1, "    if (!status) {\n        return false;\n    }"),
    (RPC, "    GGML_ASSERT(cgraph->n_nodes > 0);", "", 1,
     "\0\n    if (rpc_ctx->dispatcher->is_lost()) {\n        return GGML_STATUS_FAILED;\n    }"),
    (RPC, "    if (std::strcmp(name, \"ggml_backend_rpc_add_server\") == 0) {", "", 1,
     "    if (std::strcmp(name, \"morph_rpc_losses\") == 0) {\n        return (void *)morph_rpc_losses;\n    }\n\0"),
    # A closed connection is an error of a call, not a signal.
    (TRANSPORT, "(const char *)data + bytes_sent, size_to_send, 0)", "", 1,
     "(const char *)data + bytes_sent, size_to_send, MSG_NOSIGNAL)"),
]


def change(text, begin, end, times, instead):
    count = text.count(begin)
    if count != times:
        raise SystemExit(f"adapt.py: expected {times} of {begin!r}, found {count}")
    if times == 0:
        return text
    start = text.index(begin)
    stop = start + len(begin)
    if end:
        stop = text.index(end, stop) + len(end)
    return text[:start] + instead.replace("\0", text[start:stop]) + text[stop:]


def main():
    if sys.argv[1] == "--published":
        source = pathlib.Path(sys.argv[2])
        # A copy, so that the file is newer than what was compiled from ours.
        shutil.copyfile(source / (CPU + ".published"), source / CPU)
        return
    source, headers = map(pathlib.Path, sys.argv[1:3])
    shutil.copy(source / CPU, source / (CPU + ".published"))
    for header, place in (("patient_wait.h", CPU), ("lost_server.h", RPC)):
        shutil.copy(headers / header, (source / place).parent)
    for name in dict.fromkeys(file for file, *_ in CHANGES):
        text = (source / name).read_text(encoding="utf-8")
        for file, *rest in CHANGES:
            if file == name:
                text = change(text, *rest)
        (source / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
