/* G.723.1 for Asterisk, over libavcodec.
 *
 * A frame is 30 ms, 240 samples. The two low bits of its first byte say what it is (RFC 3551, 4.5.3): speech at 6.3 kbit/s in 24
 * bytes, speech at 5.3 in 20, a silence descriptor in 4, or one byte for "nothing was sent". A packet is any number of them. We
 * send 6.3 kbit/s, the only rate that libavcodec encodes. Bytes that are no whole frame are left out.
 *
 * libavcodec has no word for a lost frame, but the codec has one: a pitch code above 123 is forbidden, and a decoder answers
 * it with concealment (ITU-T G.723.1, 3.10). The standard mutes after the second frame; we do that ourselves.
 */
#include "framed.h"

#include <libavcodec/avcodec.h>
#include <libavutil/channel_layout.h>

#define FRAME_SAMPLES 240
#define LARGEST_BYTES 24
#define ENCODED_BYTES 24
#define ENCODED_BIT_RATE 6300
#define MOST_CONCEALED 2

/* The bytes of a frame, by the two low bits of the first one. */
static const int frame_bytes[] = {24, 20, 4, 1};

struct codec {
    AVCodecContext *context;
    AVFrame *frame;
    AVPacket *packet;
};

struct decoder {
    struct codec codec;
    /* Lost frames since the last that came. */
    int lost;
};

struct encoder {
    struct codec codec;
    int16_t waiting[BUFFER_SAMPLES];
};

static void close_codec(struct codec *codec)
{
    avcodec_free_context(&codec->context);
    av_frame_free(&codec->frame);
    av_packet_free(&codec->packet);
}

/* On failure nothing is left behind. */
static int open_codec(struct codec *codec, const AVCodec *which)
{
    codec->context = avcodec_alloc_context3(which);
    codec->frame = av_frame_alloc();
    codec->packet = av_packet_alloc();
    if (!codec->context || !codec->frame || !codec->packet)
        goto failed;
    codec->context->sample_rate = RATE;
    codec->context->sample_fmt = AV_SAMPLE_FMT_S16;
    codec->context->bit_rate = ENCODED_BIT_RATE;
    codec->context->thread_count = 1;
    av_channel_layout_default(&codec->context->ch_layout, 1);
    if (avcodec_open2(codec->context, which, NULL) == 0)
        return 0;
failed:
    close_codec(codec);
    return -1;
}

static int new_decoder(struct ast_trans_pvt *pvt)
{
    struct decoder *decoder = pvt->pvt;

    return open_codec(&decoder->codec, avcodec_find_decoder(AV_CODEC_ID_G723_1));
}

static void free_decoder(struct ast_trans_pvt *pvt)
{
    struct decoder *decoder = pvt->pvt;

    close_codec(&decoder->codec);
}

/* The samples of an encoder's frame are its own for all its life: what libavcodec keeps, it copies. */
static int prepare_encoder(struct codec *codec)
{
    if (open_codec(codec, avcodec_find_encoder(AV_CODEC_ID_G723_1)))
        return -1;
    codec->frame->nb_samples = FRAME_SAMPLES;
    codec->frame->format = AV_SAMPLE_FMT_S16;
    codec->frame->sample_rate = RATE;
    av_channel_layout_default(&codec->frame->ch_layout, 1);
    if (av_frame_get_buffer(codec->frame, 0) == 0)
        return 0;
    close_codec(codec);
    return -1;
}

static int new_encoder(struct ast_trans_pvt *pvt)
{
    struct encoder *encoder = pvt->pvt;

    return prepare_encoder(&encoder->codec);
}

static void free_encoder(struct ast_trans_pvt *pvt)
{
    struct encoder *encoder = pvt->pvt;

    close_codec(&encoder->codec);
}

static void silence(struct ast_trans_pvt *pvt)
{
    memset(pvt->outbuf.i16 + pvt->samples, 0, FRAME_SAMPLES * sizeof(int16_t));
    framed_decoded(pvt, FRAME_SAMPLES);
}

/* One frame always gives 240 samples: what the decoder refuses is silence, so that time goes on. */
static void decode_frame(struct ast_trans_pvt *pvt, const uint8_t *bytes, int length)
{
    struct codec *codec = &((struct decoder *)pvt->pvt)->codec;
    int got;

    av_packet_unref(codec->packet);
    if (av_new_packet(codec->packet, length) < 0) {
        silence(pvt);
        return;
    }
    memcpy(codec->packet->data, bytes, length);
    got = avcodec_send_packet(codec->context, codec->packet) == 0
        && avcodec_receive_frame(codec->context, codec->frame) == 0 && codec->frame->nb_samples == FRAME_SAMPLES;
    if (got) {
        memcpy(pvt->outbuf.i16 + pvt->samples, codec->frame->data[0], FRAME_SAMPLES * sizeof(int16_t));
        framed_decoded(pvt, FRAME_SAMPLES);
    } else {
        silence(pvt);
    }
    av_frame_unref(codec->frame);
}

static void conceal(struct ast_trans_pvt *pvt)
{
    /* Speech at 6.3 kbit/s with every pitch forbidden. */
    static const uint8_t forbidden[LARGEST_BYTES] = {0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct decoder *decoder = pvt->pvt;

    if (decoder->lost < MOST_CONCEALED) {
        decoder->lost++;
        decode_frame(pvt, forbidden, sizeof(forbidden));
    } else {
        silence(pvt);
    }
}

static int decode(struct ast_trans_pvt *pvt, struct ast_frame *f)
{
    struct decoder *decoder = pvt->pvt;
    const uint8_t *bytes = f->data.ptr;
    int left = f->datalen, length, lost;

    if (left == 0) {
        for (lost = f->samples; lost > 0 && framed_fits(pvt, FRAME_SAMPLES); lost -= FRAME_SAMPLES)
            conceal(pvt);
        return 0;
    }
    for (; left > 0 && framed_fits(pvt, FRAME_SAMPLES); left -= length, bytes += length) {
        length = frame_bytes[bytes[0] & 3];
        if (length > left) {
            ast_debug(3, "g723: %d bytes of a packet of %d are no whole frame\n", left, f->datalen);
            break;
        }
        decoder->lost = 0;
        decode_frame(pvt, bytes, length);
    }
    return 0;
}

static int wait_for_frame(struct ast_trans_pvt *pvt, struct ast_frame *f)
{
    struct encoder *encoder = pvt->pvt;

    return framed_wait(pvt, encoder->waiting, f);
}

static int encode_one(void *state, const int16_t *samples, uint8_t *bytes)
{
    struct codec *codec = state;
    int length = -1;

    if (av_frame_make_writable(codec->frame) < 0)
        return -1;
    memcpy(codec->frame->data[0], samples, FRAME_SAMPLES * sizeof(*samples));
    if (avcodec_send_frame(codec->context, codec->frame) == 0
        && avcodec_receive_packet(codec->context, codec->packet) == 0) {
        if (codec->packet->size <= ENCODED_BYTES) {
            length = codec->packet->size;
            memcpy(bytes, codec->packet->data, length);
        }
        av_packet_unref(codec->packet);
    }
    return length;
}

static struct ast_frame *encode(struct ast_trans_pvt *pvt)
{
    struct encoder *encoder = pvt->pvt;

    return framed_encode(pvt, encoder->waiting, FRAME_SAMPLES, &encoder->codec, encode_one);
}

/* One frame, made when the module is loaded, by which Asterisk measures what decoding costs. */
static uint8_t example[ENCODED_BYTES];

static int make_example(void)
{
    int16_t samples[FRAME_SAMPLES];
    struct codec codec;
    size_t at;
    int length;

    for (at = 0; at < ARRAY_LEN(samples); at++)
        samples[at] = (int16_t)ex_slin8[at % ARRAY_LEN(ex_slin8)];
    if (prepare_encoder(&codec))
        return -1;
    length = encode_one(&codec, samples, example);
    close_codec(&codec);
    return length == ENCODED_BYTES ? 0 : -1;
}

static struct ast_frame *example_frame(void)
{
    static struct ast_frame f = {
        .frametype = AST_FRAME_VOICE,
        .datalen = sizeof(example),
        .samples = FRAME_SAMPLES,
        .src = "codec_g723",
        .data.ptr = example,
    };

    f.subclass.format = ast_format_g723;
    return &f;
}

static struct ast_translator g723_to_slin = {
    .name = "g723tolin",
    .src_codec = NARROW_BAND("g723"),
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

static struct ast_translator slin_to_g723 = {
    .name = "lintog723",
    .src_codec = NARROW_BAND("slin"),
    .dst_codec = NARROW_BAND("g723"),
    .format = "g723",
    .newpvt = new_encoder,
    .framein = wait_for_frame,
    .frameout = encode,
    .destroy = free_encoder,
    .sample = slin8_sample,
    .buf_size = (BUFFER_SAMPLES / FRAME_SAMPLES + 1) * ENCODED_BYTES,
    .desc_size = sizeof(struct encoder),
};

static int unload_module(void)
{
    int failed = ast_unregister_translator(&slin_to_g723);

    failed |= ast_unregister_translator(&g723_to_slin);
    return failed;
}

static int load_module(void)
{
    /* Its warnings about packets of strangers would go to stderr, past Asterisk's log. */
    av_log_set_level(AV_LOG_QUIET);
    if (make_example())
        return AST_MODULE_LOAD_DECLINE;
    if (ast_register_translator(&g723_to_slin) || ast_register_translator(&slin_to_g723)) {
        unload_module();
        return AST_MODULE_LOAD_DECLINE;
    }
    return AST_MODULE_LOAD_SUCCESS;
}

AST_MODULE_INFO(ASTERISK_GPL_KEY, AST_MODFLAG_DEFAULT, "G.723.1 Coder/Decoder",
    .support_level = AST_MODULE_SUPPORT_EXTENDED,
    .load = load_module,
    .unload = unload_module,
);
