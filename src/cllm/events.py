"""The kinds of events in a run's store, and what their data hold.

Units: losses in nats per token, times in seconds, sizes in bytes, `bits_per_byte` in bits per byte of text.

stage        stage ("scanning", "tokenizing", "planning", "compiling", "training", "saving"), done, total, note
corpus       files, bytes, tokens, train_bytes, validation_bytes, test_bytes, languages {name: files},
             left_out {reason: files}, ppmd_bits_per_byte (of validation files after training files; null if none)
plan         size, parameters, vocabulary, context, batch_size, microbatches, ranks, threads_per_rank, precision,
             compile, steps, epochs, tokens_per_step, windows_per_epoch, learning_rate,
             expected_bits_per_byte (of the network alone), notes [text]
step         step, steps, epoch (fractional), loss, best_loss, grad_norm, learning_rate, tokens (so far), tokens_per_s,
             step_s (of the step alone), elapsed_s, eta_s, progress (0..1)
spheres      step, spheres [{sphere, microbatches, tokens, loss, activity, state ("computing"|"active"|"idle")}]
validation   step, epoch, loss, bits_per_byte, best_loss, best_bits_per_byte, tokens, bytes, seconds, improved
sample       step, epoch, prompt, text (what the model makes follow the prompt, greedily), tokens (of text)
checkpoint   kind ("epoch"|"best"|"save"|"periodic"|"final"), path, step, epoch, bytes, seconds,
             weights_sha256
usage        rss_bytes (all processes), peak_rss_bytes, cpu_percent (100 = one core), read_bytes, write_bytes
warning      text
error        text, exit_code, rank
rollback     step, to_step, reason
stopped      step, reason, resume (command)
summary      the figures of the run (`training.summary`), model, best_model, weights_sha256; from rank 0, at its end
result       state ("done"|"stopped"|"failed"), reason, exit_code, and the summary if there is one; always the last
"""

from __future__ import annotations

STAGE = "stage"
CORPUS = "corpus"
PLAN = "plan"
STEP = "step"
SPHERES = "spheres"
VALIDATION = "validation"
SAMPLE = "sample"
CHECKPOINT = "checkpoint"
USAGE = "usage"
WARNING = "warning"
ERROR = "error"
ROLLBACK = "rollback"
STOPPED = "stopped"
SUMMARY = "summary"
RESULT = "result"
