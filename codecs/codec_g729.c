/* G.729 (with Annexes A and B) for Asterisk, over libbcg729.
 *
 * A frame is 10 ms: 80 samples in 10 bytes. A packet is any number of frames and, perhaps, a silence descriptor of 2 bytes at
 * its end (RFC 3551, 4.5.6). We send no silence descriptors: Asterisk offers annexb=no. What a jitter buffer reports as lost
 * is concealed by the decoder. Bytes that are no whole frame are left out.
 */
#include "framed.h"

#include <bcg729/decoder.h>
#include <bcg729/encoder.h>

#define FRAME_SAMPLES 80
#define FRAME_BYTES 10
#define SILENCE_BYTES 2

struct decoder {
    bcg729DecoderChannelContextStruct *state;
};

struct encoder {
    bcg729EncoderChannelContextStruct *state;
    int16_t waiting[BUFFER_SAMPLES];
};

static int new_decoder(struct ast_trans_pvt *pvt)
{
    struct decoder *decoder = pvt->pvt;

    decoder->state = initBcg729DecoderChannel();
    return decoder->state ? 0 : -1;
}

static void free_decoder(struct ast_trans_pvt *pvt)
{
    struct decoder *decoder = pvt->pvt;

    if (decoder->state)
        closeBcg729DecoderChannel(decoder->state);
}

static int new_encoder(struct ast_trans_pvt *pvt)
{
    struct encoder *encoder = pvt->pvt;

    encoder->state = initBcg729EncoderChannel(0);
    return encoder->state ? 0 : -1;
}

static void free_encoder(struct ast_trans_pvt *pvt)
{
    struct encoder *encoder = pvt->pvt;

    if (encoder->state)
        closeBcg729EncoderChannel(encoder->state);
}

enum kind { SPEECH, SILENCE, LOST };

static void decode_frame(struct ast_trans_pvt *pvt, const uint8_t *bytes, enum kind kind)
{
    static const uint8_t nothing[FRAME_BYTES];
    struct decoder *decoder = pvt->pvt;
    uint8_t length = kind == SPEECH ? FRAME_BYTES : kind == SILENCE ? SILENCE_BYTES : 0;

    bcg729Decoder(decoder->state, bytes ? bytes : nothing, length, kind == LOST, kind == SILENCE, 0,
        pvt->outbuf.i16 + pvt->samples);
    framed_decoded(pvt, FRAME_SAMPLES);
}

static int decode(struct ast_trans_pvt *pvt, struct ast_frame *f)
{
    const uint8_t *bytes = f->data.ptr;
    int left = f->datalen, lost;

    if (left == 0) {
        for (lost = f->samples; lost > 0 && framed_fits(pvt, FRAME_SAMPLES); lost -= FRAME_SAMPLES)
            decode_frame(pvt, NULL, LOST);
        return 0;
    }
    for (; left >= FRAME_BYTES && framed_fits(pvt, FRAME_SAMPLES); left -= FRAME_BYTES, bytes += FRAME_BYTES)
        decode_frame(pvt, bytes, SPEECH);
    if (left == SILENCE_BYTES && framed_fits(pvt, FRAME_SAMPLES))
        decode_frame(pvt, bytes, SILENCE);
    else if (left > 0)
        ast_debug(3, "g729: %d bytes of a packet of %d are no whole frame\n", left, f->datalen);
    return 0;
}

static int wait_for_frame(struct ast_trans_pvt *pvt, struct ast_frame *f)
{
    struct encoder *encoder = pvt->pvt;

    return framed_wait(pvt, encoder->waiting, f);
}

static int encode_one(void *state, const int16_t *samples, uint8_t *bytes)
{
    uint8_t length = 0;

    bcg729Encoder(state, samples, bytes, &length);
    return length;
}

static struct ast_frame *encode(struct ast_trans_pvt *pvt)
{
    struct encoder *encoder = pvt->pvt;

    return framed_encode(pvt, encoder->waiting, FRAME_SAMPLES, encoder->state, encode_one);
}

/* Two frames, made when the module is loaded, by which Asterisk measures what decoding costs. */
static uint8_t example[2 * FRAME_BYTES];

static int make_example(void)
{
    bcg729EncoderChannelContextStruct *state = initBcg729EncoderChannel(0);
    size_t at;

    if (!state)
        return -1;
    for (at = 0; at < sizeof(example); at += FRAME_BYTES)
        encode_one(state, (const int16_t *)ex_slin8, example + at);
    closeBcg729EncoderChannel(state);
    return 0;
}

static struct ast_frame *example_frame(void)
{
    static struct ast_frame f = {
        .frametype = AST_FRAME_VOICE,
        .datalen = sizeof(example),
        .samples = 2 * FRAME_SAMPLES,
        .src = "codec_g729",
        .data.ptr = example,
    };

    f.subclass.format = ast_format_g729;
    return &f;
}

static struct ast_translator g729_to_slin = {
    .name = "g729tolin",
    .src_codec = NARROW_BAND("g729"),
    .dst_codec = NARROW_BAND("slin"),
    .format = "slin",
    .newpvt = new_decoder,
    .framein = decode,
    .destroy = free_decoder,
    .sample = example_frame,
    .buffer_samples = BUFFER_SAMPLES,
    .buf_size = BUFFER_SAMPLES * sizeof(int16_t),
    .desc_size = sizeof(struct decoder),
    .native_plc = 1,
};

static struct ast_translator slin_to_g729 = {
    .name = "lintog729",
    .src_codec = NARROW_BAND("slin"),
    .dst_codec = NARROW_BAND("g729"),
    .format = "g729",
    .newpvt = new_encoder,
    .framein = wait_for_frame,
    .frameout = encode,
    .destroy = free_encoder,
    .sample = slin8_sample,
    .buf_size = BUFFER_SAMPLES / FRAME_SAMPLES * FRAME_BYTES,
    .desc_size = sizeof(struct encoder),
};

static int unload_module(void)
{
    int failed = ast_unregister_translator(&slin_to_g729);

    failed |= ast_unregister_translator(&g729_to_slin);
    return failed;
}

static int load_module(void)
{
    if (make_example())
        return AST_MODULE_LOAD_DECLINE;
    if (ast_register_translator(&g729_to_slin) || ast_register_translator(&slin_to_g729)) {
        unload_module();
        return AST_MODULE_LOAD_DECLINE;
    }
    return AST_MODULE_LOAD_SUCCESS;
}

AST_MODULE_INFO(ASTERISK_GPL_KEY, AST_MODFLAG_DEFAULT, "G.729 Coder/Decoder",
    .support_level = AST_MODULE_SUPPORT_EXTENDED,
    .load = load_module,
    .unload = unload_module,
);
