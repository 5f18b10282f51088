// The stage audio/speak: text in, speech out, one utterance per step.
//
// Text is made speakable (speech_text.h), cut into utterances, turned into phonemes by the espeak-ng program and spoken
// by a voice (VITS in Piper's form, Kokoro). Utterances are shaped (no stray silence, faded ends, one level) and joined
// by pauses that the punctuation asks for, so that clauses that were synthesised apart sound like one reading. Audio
// leaves in chunks of about 100 ms that say how much of the answer they speak.
#pragma once

#include <memory>

#include "morph/stage.h"
#include "synthesise/voice.h"

namespace morph::audio {

/// Speaks a few words first, so that the first real utterance does not pay for kernels and buffers being prepared.
/// Throws Error{config} when espeak-ng is missing. Its states take the run parameters declared in stages/speak.cpp, and
/// throw Error{config} for an unknown speaker.
std::shared_ptr<const Stage> make_speak_stage(std::shared_ptr<const Voice> voice);

}  // namespace morph::audio
