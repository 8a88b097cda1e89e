/* What our codecs share: an encoder's samples wait until a frame of the codec is full.
 *
 * Asterisk owns all memory and calls a translator from one thread at a time; nothing here allocates or locks.
 */
#ifndef SWITCHHOOK_FRAMED_H
#define SWITCHHOOK_FRAMED_H

#include "asterisk.h"

#include "asterisk/codec.h"
#include "asterisk/format_cache.h"
#include "asterisk/frame.h"
#include "asterisk/logger.h"
#include "asterisk/module.h"
#include "asterisk/slin.h"
#include "asterisk/translate.h"

/* Samples a second of both codecs, and of Asterisk's "slin". */
#define RATE 8000
/* One second: no packet is longer, and what is lost at once is concealed no longer. */
#define BUFFER_SAMPLES RATE

#define NARROW_BAND(codec)                                                                                             \
    { .name = codec, .type = AST_MEDIA_TYPE_AUDIO, .sample_rate = RATE }

/* Encodes one frame; the value is the bytes written, or -1. */
typedef int (*encode_frame)(void *encoder, const int16_t *samples, uint8_t *bytes);

/* Adds what came to the samples that wait; pvt->samples counts them. A frame without data says that something was lost:
 * an encoder has nothing to add to that. */
static int framed_wait(struct ast_trans_pvt *pvt, int16_t *waiting, const struct ast_frame *f)
{
    int count = f->datalen / (int)sizeof(*waiting);

    if (pvt->samples + count > BUFFER_SAMPLES) {
        ast_log(LOG_WARNING, "%s: more than a second of sound waits, %d samples are dropped\n", pvt->t->name, count);
        return -1;
    }
    if (count > 0) {
        memcpy(waiting + pvt->samples, f->data.ptr, count * sizeof(*waiting));
        pvt->samples += count;
    }
    return 0;
}

/* All full frames of what waits, in one frame of Asterisk's; NULL while none is full. */
static struct ast_frame *framed_encode(struct ast_trans_pvt *pvt, int16_t *waiting, int frame_samples, void *encoder,
    encode_frame encode)
{
    int done = 0, bytes = 0;

    while (pvt->samples - done >= frame_samples) {
        int written = encode(encoder, waiting + done, pvt->outbuf.ui8 + bytes);

        done += frame_samples;
        if (written > 0)
            bytes += written;
    }
    if (done == 0)
        return NULL;
    pvt->samples -= done;
    memmove(waiting, waiting + done, pvt->samples * sizeof(*waiting));
    return bytes > 0 ? ast_trans_frameout(pvt, bytes, done) : NULL;
}

/* Takes notice of samples that a decoder has laid into the buffer for what it gives out. */
static void framed_decoded(struct ast_trans_pvt *pvt, int samples)
{
    pvt->samples += samples;
    pvt->datalen += samples * (int)sizeof(*pvt->outbuf.i16);
}

/* Whether so many samples still fit there. */
static int framed_fits(const struct ast_trans_pvt *pvt, int samples)
{
    return pvt->samples + samples <= BUFFER_SAMPLES;
}

#endif
